package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"go.yaml.in/yaml/v3"
)

func init() {
	caddyconfig.RegisterAdapter("ela", elaAdapter{})
}

// elaAdapter makes a configuration of the file that ELA reads:
//
//	level: info
//	gateway:
//	  address: 0.0.0.0:8080
//	  user: admin                # for the gateway's clients; may be left out
//	  password: secret
//	  source_es: source-es5
//	  target_es: target-es8      # may be left out
//	  master: source-es5         # default: source_es
//	elastics:
//	  source-es5:
//	    addresses: ["http://192.168.1.55:9200", "http://192.168.1.56:9200"]
//	    user: u                  # of the gateway at the cluster
//	    password: p
//	  target-es8:
//	    addresses: ["https://192.168.1.67:9200"]
//	    user: elastic
//	    password: p
//	    ca_file: /etc/es8-ca.pem # not ELA's: whom to trust for https
//
// Upper and lower case, underscores and hyphens in the keys do not matter.
// Keys that are not known are warned about.
type elaAdapter struct{}

// Adapt implements caddyconfig.Adapter.
func (elaAdapter) Adapt(body []byte, options map[string]any) ([]byte, []caddyconfig.Warning, error) {
	file, _ := options["filename"].(string)
	r := &elaReader{file: file}
	c, err := r.read(body)
	if err != nil {
		return nil, r.warnings, err
	}
	config, err := c.caddy(r)
	if err != nil {
		return nil, r.warnings, err
	}
	adapted, err := json.Marshal(config)
	return adapted, r.warnings, err
}

// elaConfig is what the file says.
type elaConfig struct {
	level                  string
	address                string
	user, password         string
	source, target, master string
	clusters               map[string]*elaCluster
}

type elaCluster struct {
	line           int
	addresses      []string
	user, password string
	caFile         string
}

// caddy makes Caddy's configuration.
func (c *elaConfig) caddy(r *elaReader) (map[string]any, error) {
	h := &Handler{Clusters: map[string]*Cluster{}, Source: c.source, Target: c.target, Master: c.master}
	for key, name := range map[string]string{"source_es": c.source, "target_es": c.target, "master": c.master} {
		if name != "" && c.clusters[name] == nil {
			return nil, fmt.Errorf("gateway.%s: there is no %s in elastics; there is: %s", key, name, strings.Join(slices.Sorted(maps.Keys(c.clusters)), ", "))
		}
	}
	for name, e := range c.clusters {
		if name != c.source && name != c.target {
			r.warn(e.line, "elastics."+name, "this cluster is neither gateway.source_es nor gateway.target_es and is not used")
			continue
		}
		cluster, err := e.cluster()
		if err != nil {
			return nil, fmt.Errorf("elastics.%s.%w", name, err)
		}
		h.Clusters[name] = cluster
	}
	full := *h
	full.complete()
	if err := full.check(); err != nil {
		return nil, elaFlaw(err)
	}
	handle := []json.RawMessage{caddyconfig.JSONModuleObject(h, "handler", "esperanto", nil)}
	if c.user != "" {
		auth, err := c.authentication()
		if err != nil {
			return nil, err
		}
		handle = append([]json.RawMessage{auth}, handle...)
	}
	config := map[string]any{
		"apps": map[string]any{
			"http": map[string]any{
				"servers": map[string]any{
					"gateway": map[string]any{
						"listen":          []string{handoverNetwork + "/" + c.address},
						"routes":          []any{map[string]any{"handle": handle}},
						"automatic_https": &caddyhttp.AutoHTTPSConfig{Disabled: true},
					},
				},
			},
		},
	}
	if c.level != "" {
		config["logging"] = map[string]any{"logs": map[string]any{"default": map[string]any{"level": c.level}}}
	}
	return config, nil
}

// authentication asks the clients for user and password. Without the cache each
// request would cost more than Elasticsearch's own work for it.
func (c *elaConfig) authentication() (json.RawMessage, error) {
	hash, err := caddyauth.BcryptHash{}.Hash([]byte(c.password))
	if err != nil {
		return nil, fmt.Errorf("gateway.password: %w", err)
	}
	basic := caddyauth.HTTPBasicAuth{
		HashRaw:     json.RawMessage(`{"algorithm":"bcrypt"}`),
		AccountList: []caddyauth.Account{{Username: c.user, Password: string(hash)}},
		HashCache:   new(caddyauth.Cache),
	}
	auth := caddyauth.Authentication{ProvidersRaw: caddy.ModuleMap{"http_basic": caddyconfig.JSON(basic, nil)}}
	return caddyconfig.JSONModuleObject(auth, "handler", "authentication", nil), nil
}

// elaFlaw names the key of a mistake as the file calls it.
func elaFlaw(err error) error {
	var f *flaw
	if errors.As(err, &f) {
		switch f.option {
		case "source", "target":
			return fmt.Errorf("gateway.%s_es: %w", f.option, f.err)
		case "master":
			return fmt.Errorf("gateway.master: %w", f.err)
		}
	}
	return err
}

// cluster makes the cluster's configuration; errors begin with the key.
func (e *elaCluster) cluster() (*Cluster, error) {
	if len(e.addresses) == 0 {
		return nil, errors.New(`addresses: at least one is needed, such as "http://192.168.1.55:9200"`)
	}
	if (e.user == "") != (e.password == "") {
		return nil, errors.New("user: user and password belong together")
	}
	var scheme string
	var upstreams []map[string]string
	for _, address := range e.addresses {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("addresses: %s is no address such as http://192.168.1.55:9200", address)
		}
		if scheme != "" && u.Scheme != scheme {
			return nil, errors.New("addresses: http:// and https:// cannot be mixed")
		}
		scheme = u.Scheme
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[scheme]
		}
		upstreams = append(upstreams, map[string]string{"dial": net.JoinHostPort(u.Hostname(), port)})
	}
	proxy := map[string]any{"upstreams": upstreams}
	switch {
	case scheme == "https" && e.caFile != "":
		proxy["transport"] = map[string]any{"protocol": "http", "tls": map[string]any{"ca": map[string]any{"provider": "file", "pem_files": []string{e.caFile}}}}
	case scheme == "https":
		proxy["transport"] = map[string]any{"protocol": "http", "tls": map[string]any{}}
	case e.caFile != "":
		return nil, errors.New("ca_file: it has no use for http:// addresses")
	}
	return &Cluster{ProxyRaw: caddyconfig.JSON(proxy, nil), User: literal(e.user), Password: literal(e.password)}, nil
}

// literal keeps Caddy from taking braces for placeholders.
func literal(s string) string { return strings.ReplaceAll(s, "{", `\{`) }

// elaReader reads the file and gathers warnings.
type elaReader struct {
	file     string
	warnings []caddyconfig.Warning
}

func (r *elaReader) warn(line int, key, message string) {
	r.warnings = append(r.warnings, caddyconfig.Warning{File: r.file, Line: line, Directive: key, Message: message})
}

func (r *elaReader) read(body []byte) (*elaConfig, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("the file is no YAML: %w", err)
	}
	if len(doc.Content) == 0 {
		return nil, errors.New("the file is empty; it needs the keys gateway and elastics")
	}
	c := &elaConfig{clusters: map[string]*elaCluster{}}
	err := r.section("", doc.Content[0], map[string]func(string, *yaml.Node) error{
		"level": func(key string, n *yaml.Node) error { return r.level(key, n, &c.level) },
		"gateway": func(key string, n *yaml.Node) error {
			return r.section(key, n, map[string]func(string, *yaml.Node) error{
				"address":  text(&c.address),
				"user":     text(&c.user),
				"password": text(&c.password),
				"sourcees": text(&c.source),
				"targetes": text(&c.target),
				"master":   text(&c.master),
			})
		},
		"elastics": func(key string, n *yaml.Node) error { return r.clusters(key, n, c) },
	})
	if err != nil {
		return nil, err
	}
	if _, port, err := net.SplitHostPort(c.address); err != nil || port == "" {
		return nil, fmt.Errorf("gateway.address: %q is no address to listen on, such as 0.0.0.0:8080", c.address)
	}
	switch {
	case len(c.clusters) == 0:
		return nil, errors.New("elastics: no cluster is given")
	case c.source == "":
		return nil, errors.New("gateway.source_es: the name of one of elastics is needed")
	case (c.user == "") != (c.password == ""):
		return nil, errors.New("gateway.user: user and password belong together")
	case c.user == "":
		r.warn(0, "gateway.user", "clients need no credentials")
	}
	return c, nil
}

func (r *elaReader) level(key string, n *yaml.Node, to *string) error {
	if err := text(to)(key, n); err != nil {
		return err
	}
	switch level := strings.ToUpper(*to); level {
	case "", "DEBUG", "INFO", "WARN", "ERROR":
		*to = level
	case "WARNING":
		*to = "WARN"
	case "TRACE":
		*to = "DEBUG"
	case "FATAL", "PANIC":
		*to = "ERROR"
	default:
		return fmt.Errorf("%s: line %d: %s is none of debug, info, warn, error", key, n.Line, *to)
	}
	return nil
}

func (r *elaReader) clusters(key string, n *yaml.Node, c *elaConfig) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("%s: line %d: names of clusters are expected, each with addresses, user and password", key, n.Line)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		e := &elaCluster{line: n.Content[i].Line}
		name := n.Content[i].Value
		if c.clusters[name] != nil {
			return fmt.Errorf("%s.%s: line %d: it is given twice", key, name, e.line)
		}
		c.clusters[name] = e
		err := r.section(key+"."+name, n.Content[i+1], map[string]func(string, *yaml.Node) error{
			"addresses": texts(&e.addresses),
			"user":      text(&e.user),
			"password":  text(&e.password),
			"cafile":    text(&e.caFile),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// section reads a mapping whose keys are known by their bare names: in lower
// case, without underscores and hyphens.
func (r *elaReader) section(path string, n *yaml.Node, known map[string]func(path string, n *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		if path == "" {
			path = "the file"
		}
		return fmt.Errorf("%s: line %d: keys with values are expected", path, n.Line)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := key.Value
		if path != "" {
			name = path + "." + name
		}
		read := known[strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(key.Value))]
		if read == nil {
			r.warn(key.Line, name, "this key is not known and has no effect")
			continue
		}
		if err := read(name, value); err != nil {
			return err
		}
	}
	return nil
}

// text reads a scalar, as it is written.
func text(to *string) func(string, *yaml.Node) error {
	return func(path string, n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode {
			return fmt.Errorf("%s: line %d: one value is expected", path, n.Line)
		}
		if n.Tag != "!!null" {
			*to = n.Value
		}
		return nil
	}
}

// texts reads a list of scalars, or one.
func texts(to *[]string) func(string, *yaml.Node) error {
	return func(path string, n *yaml.Node) error {
		list := []*yaml.Node{n}
		if n.Kind == yaml.SequenceNode {
			list = n.Content
		}
		for _, item := range list {
			var s string
			if err := text(&s)(path, item); err != nil {
				return err
			}
			*to = append(*to, s)
		}
		return nil
	}
}

var _ caddyconfig.Adapter = elaAdapter{}
