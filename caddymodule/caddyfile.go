package caddymodule

import (
	"encoding/json"
	"errors"
	"math"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/dustin/go-humanize"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("esperanto", parseApp)
	httpcaddyfile.RegisterHandlerDirective("esperanto", parseHandler)
	// Behind basic_auth and encode.
	httpcaddyfile.RegisterDirectiveOrder("esperanto", httpcaddyfile.Before, "reverse_proxy")
}

func parseApp(d *caddyfile.Dispenser, _ any) (any, error) {
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "esperanto", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile sets up the app from Caddyfile tokens. Syntax:
//
//	esperanto {
//	    journal {
//	        # the embedded journal
//	        path     <folder>
//	        max_size <size>
//
//	        # or Kafka
//	        brokers     <host:port...>
//	        topic       <name>
//	        partitions  <number>
//	        replication <number>
//	        single_replica
//	        session_timeout <duration>
//	        tls {
//	            ca          <file>
//	            client_cert <file> <key file>
//	        }
//	        sasl plain|scram-sha-256|scram-sha-512 <user> <password>
//
//	        intent first|beside
//	    }
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "journal":
			if a.Journal != nil {
				return d.Err("journal is given twice")
			}
			a.Journal = new(Journal)
			if err := a.Journal.unmarshalCaddyfile(d); err != nil {
				return err
			}
		default:
			return d.Errf("unknown option %s; the option is: journal", d.Val())
		}
	}
	return nil
}

func parseHandler(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return handler, nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	esperanto [<matcher>] [<gateway name>] {
//	    cluster <name> {
//	        to      <addresses...>
//	        auth    <user> <password>
//	        auth    passthrough
//	        version <version>
//
//	        # everything else as in reverse_proxy, for example
//	        lb_policy  <policy> [<options...>]
//	        health_uri <uri>
//	        transport http {
//	            tls_trust_pool file <ca.pem>
//	        }
//	    }
//	    source  <cluster>
//	    target  <cluster>
//	    master  <cluster>
//	    dialect <version>
//	    types   refuse|merge|split
//
//	    max_body        <size>
//	    write_timeout   <duration>
//	    switch_timeout  <duration>
//	    master_lease    <duration>
//	    journal_timeout <duration>
//	    grace           <duration>
//	    journal_down    refuse|accept
//	    failover        <duration>
//
//	    both_ways <cluster>
//
//	    apply    on|off|paused
//	    capture  on|off
//	    throttle {
//	        docs_per_second  <number>
//	        bytes_per_second <size>
//	    }
//	    indices {
//	        include <patterns...>
//	        exclude <patterns...>
//	        rename  <pattern> <name with {{leader_index}}>
//	    }
//
//	    readiness     on|off|<percentage>
//	    compare reads <percentage>
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	start := *d
	if d.NextArg() {
		h.Name = d.Val()
		if d.NextArg() {
			return d.ArgErr()
		}
	}

	// Where each option stands, so that a mistake that only shows when all
	// options are known can name its line.
	lines := map[string]caddyfile.Dispenser{}
	for d.NextBlock(0) {
		option := d.Val()
		at := *d
		key := option
		if option == "cluster" {
			name, err := h.unmarshalCluster(d)
			if err != nil {
				return err
			}
			key = "cluster " + name
		} else if err := h.unmarshalOption(option, d); err != nil {
			return err
		}
		if _, twice := lines[key]; twice {
			return at.Errf("%s is given twice", key)
		}
		lines[key] = at
	}

	full := *h
	full.complete()
	err := full.check()
	var f *flaw
	if errors.As(err, &f) {
		for _, key := range []string{"cluster " + f.cluster, f.option} {
			if at, ok := lines[key]; ok {
				return at.Errf("%v", err)
			}
		}
	}
	if err != nil {
		return start.Errf("%v", err)
	}
	return nil
}

func (h *Handler) unmarshalOption(option string, d *caddyfile.Dispenser) error {
	var value string
	switch option {
	case "source", "target", "master", "dialect", "types", "max_body", "write_timeout", "switch_timeout", "master_lease", "journal_timeout", "grace", "failover", "both_ways", "readiness", "apply", "capture":
		if !d.AllArgs(&value) {
			return d.Errf("%s takes exactly one value", option)
		}
	}
	switch option {
	case "source":
		h.Source = value
	case "target":
		h.Target = value
	case "master":
		h.Master = value
	case "dialect":
		if _, err := esapi.ParseVersion(value); err != nil {
			return d.Errf("dialect: %v", err)
		}
		h.Dialect = value
	case "types":
		h.Types = value
	case "max_body":
		size, err := humanize.ParseBytes(value)
		if err != nil || size == 0 || size > math.MaxInt64 {
			return d.Errf("max_body %s: write a size such as 100MB", value)
		}
		h.MaxBody = int64(size)
	case "write_timeout":
		return duration(d, option, value, &h.WriteTimeout)
	case "switch_timeout":
		return duration(d, option, value, &h.SwitchTimeout)
	case "master_lease":
		return duration(d, option, value, &h.MasterLease)
	case "journal_timeout":
		return duration(d, option, value, &h.JournalTimeout)
	case "grace":
		return duration(d, option, value, &h.Grace)
	case "failover":
		return duration(d, option, value, &h.Failover)
	case "both_ways":
		h.BothWays = value
	case "readiness":
		h.Readiness = value
	case "apply":
		h.Apply = value
	case "capture":
		h.Capture = value
	case "throttle":
		return h.unmarshalThrottle(d)
	case "indices":
		return h.unmarshalIndices(d)
	case "journal_down":
		if !d.AllArgs(&h.JournalDown) {
			return d.Err("journal_down takes refuse or accept")
		}
	case "compare":
		return h.unmarshalCompare(d)
	default:
		return d.Errf("unknown option %s; the options are: cluster, source, target, master, dialect, types, max_body, write_timeout, switch_timeout, master_lease, journal_timeout, grace, journal_down, failover, both_ways, apply, capture, throttle, indices, readiness, compare", option)
	}
	return nil
}

func duration(d *caddyfile.Dispenser, option, value string, to *caddy.Duration) error {
	dur, err := caddy.ParseDuration(value)
	if err != nil || dur <= 0 {
		return d.Errf("%s %s: write a duration such as 30s", option, value)
	}
	*to = caddy.Duration(dur)
	return nil
}

// unmarshalCluster reads a cluster's block. What is not esperanto's own goes
// to reverse_proxy as it stands.
func (h *Handler) unmarshalCluster(d *caddyfile.Dispenser) (name string, err error) {
	head := d.Token()
	if !d.NextArg() {
		return "", d.Err("cluster needs a name")
	}
	name = d.Val()
	if d.NextArg() {
		return "", d.ArgErr()
	}
	if h.Clusters[name] != nil {
		return "", d.Errf("cluster %s is given twice", name)
	}

	c := new(Cluster)
	proxy := caddyfile.Segment{named(head, "reverse_proxy"), named(head, "{")}
	addressed, scheme := false, ""
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch d.Val() {
		case "auth":
			if err := c.unmarshalAuth(d); err != nil {
				return "", err
			}
		case "version":
			if !d.AllArgs(&c.Version) {
				return "", d.Err("version takes exactly one value, such as 8.7.1")
			}
			if _, err := esapi.ParseVersion(c.Version); err != nil {
				return "", d.Errf("cluster %s: %v", name, err)
			}
		case "gather":
			if !d.AllArgs(&c.Gather) {
				return "", d.Err("gather takes exactly one value, on or off")
			}
			if err := checkGather(c.Gather); err != nil {
				return "", d.Errf("cluster %s: %v", name, err)
			}
		case "lb_retry_match":
			return "", d.Errf("cluster %s: %v", name, errRetryMatch)
		case "handle_response", "replace_status":
			return "", d.Errf("cluster %s: %v", name, errHandleResponse)
		case "to":
			at, addresses := *d, d.NextSegment()
			for _, address := range addresses[1:] {
				s, _, found := strings.Cut(address.Text, "://")
				if !found {
					s = "http"
				}
				if scheme != "" && s != scheme {
					return "", at.Errf("cluster %s: http:// and https:// addresses cannot be mixed", name)
				}
				scheme = s
			}
			addressed = true
			proxy = append(proxy, addresses...)
		case "dynamic":
			addressed = true
			proxy = append(proxy, d.NextSegment()...)
		default:
			proxy = append(proxy, d.NextSegment()...)
		}
	}
	if !addressed {
		return "", d.Errf("cluster %s: no address of a node is given; add for example \"to http://localhost:9200\"", name)
	}
	proxy = append(proxy, named(d.Token(), "}"))

	rp := new(reverseproxy.Handler)
	if err := rp.UnmarshalCaddyfile(caddyfile.NewDispenser(proxy)); err != nil {
		return "", err
	}
	if c.ProxyRaw, err = json.Marshal(rp); err != nil {
		return "", d.Errf("cluster %s: %v", name, err)
	}
	if h.Clusters == nil {
		h.Clusters = map[string]*Cluster{}
	}
	h.Clusters[name] = c
	return name, nil
}

func (c *Cluster) unmarshalAuth(d *caddyfile.Dispenser) error {
	switch args := d.RemainingArgs(); {
	case len(args) == 1 && args[0] == "passthrough":
		c.Passthrough = true
	case len(args) == 2 && c.User == "":
		c.User, c.Password = args[0], args[1]
	case len(args) == 2:
		return d.Err("a cluster has one user; auth is given twice")
	default:
		return d.Err("auth takes a user and a password, or the word passthrough")
	}
	return nil
}

// named is a token in place of another one.
func named(t caddyfile.Token, text string) caddyfile.Token {
	t.Text = text
	return t
}

var (
	_ caddyfile.Unmarshaler = (*Handler)(nil)
	_ caddyfile.Unmarshaler = (*App)(nil)
)
