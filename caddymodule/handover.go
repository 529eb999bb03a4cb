package caddymodule

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/esperanto-es/esperanto/internal/handover"
)

// Caddy opens a socket for each configuration and closes that of the one before.
// On the network "handover" (bind handover/) all have the same, and connections
// without a request go from one to the next: a reload loses none.

const handoverNetwork = "handover"

func init() {
	caddy.RegisterNetwork(handoverNetwork, listenHandover)
	caddyhttp.RegisterNetworkHTTP3(handoverNetwork, "udp")
}

func listenHandover(ctx context.Context, _, host, port string, offset uint, config net.ListenConfig) (any, error) {
	first, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port %q: %w", port, err)
	}
	return handover.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.FormatUint(first+uint64(offset), 10)), config)
}

// watchClients has a server's requests end when their clients have gone, where that is seen
// for less than net/http does (handover.Context).
func watchClients(ctx caddy.Context) {
	if s, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		s.RegisterConnContext(handover.Context)
	}
}

// current is the app of the newest configuration.
var current atomic.Pointer[App]

// succeed makes a the app of the newest configuration.
func (a *App) succeed() { a.before = current.Swap(a) }

// withdraw makes the configuration before a the newest again, if a still is.
func (a *App) withdraw() {
	current.CompareAndSwap(a, a.before)
	a.before = nil
}

// askToLeave has the client close its connection behind this answer if a newer
// configuration is there: this one's server is about to be shut down, and could
// do so just when the next request comes.
func (a *App) askToLeave(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && current.Load() != a {
		w.Header().Set("Connection", "close")
	}
}
