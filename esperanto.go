// Package esperanto puts an Elasticsearch gateway into Caddy. Its clients speak
// one version of Elasticsearch; the clusters behind it may be of another. It
// copies what writes did to a second cluster, and moves the master from one to
// the other while its clients go on.
//
// The package only registers the modules, so that a Caddy with it is built by
//
//	xcaddy build --with github.com/esperanto-es/esperanto
package esperanto

import _ "github.com/esperanto-es/esperanto/caddymodule"
