// Command esperanto is Caddy with the esperanto gateway and Caddy's standard
// modules. All of Caddy's commands are there: run, validate, adapt, reload ...
package main

import (
	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/esperanto-es/esperanto"
)

func main() {
	caddy.CustomBinaryName = "esperanto"
	caddy.CustomLongDescription = "esperanto puts an Elasticsearch gateway into Caddy: it translates between Elasticsearch 5, 6, 7 and 8, copies writes to a second cluster and moves the master. esperanto's own commands are status, switch and changes; all others are Caddy's."
	caddycmd.Main()
}
