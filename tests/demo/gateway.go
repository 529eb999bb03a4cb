package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/esperanto-es/esperanto/tests/gateway"
)

// The names of the clusters in the configuration.
const (
	sourceName = "source-es5"
	targetName = "target-es8"
)

const block = `		cluster %[1]s {
			to %[2]s
		}
		cluster %[3]s {
			to %[4]s
		}
		source %[1]s
		target %[3]s
		master %[1]s`

func (d *demo) startGateway(ctx context.Context) (err error) {
	d.gateway, err = gateway.Start(ctx, gateway.Options{
		Binary: d.binary,
		Block:  fmt.Sprintf(block, sourceName, d.source.URL(), targetName, d.target.URL()),
	})
	if err != nil {
		return err
	}
	say("with this Caddyfile:\n\n%s\n", indent(d.gateway.Config()))
	say("it answers at %s, its admin endpoint at %s", d.gateway.URL(), d.gateway.Admin())
	return nil
}

func indent(s string) string {
	return "        " + strings.ReplaceAll(strings.TrimSpace(strings.ReplaceAll(s, "\t", "  ")), "\n", "\n        ")
}
