package byquery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// direct carries requests to a real cluster.
type direct struct {
	real   *harness.Cluster
	client *http.Client
}

func (d *direct) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	target := d.real.URL() + r.Path
	if q := r.Params.Encode(); q != "" {
		target += "?" + q
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, r.Reader())
	if err != nil {
		return nil, err
	}
	req.Header = r.Header.Clone()
	res, err := d.client.Do(req)
	if err != nil {
		return nil, err
	}
	return &esapi.Response{Status: res.StatusCode, Header: res.Header, Body: res.Body}, nil
}

// Forward implements gateway.Forwarder.
func (d *direct) Forward(w http.ResponseWriter, r *http.Request) error {
	return errors.New("nothing is forwarded here")
}

type lease struct{ c *cluster.Cluster }

func (l lease) Master() *cluster.Cluster { return l.c }
func (l lease) Epoch() uint64            { return 1 }
func (l lease) Sender() esapi.Sender     { return l.c }
func (l lease) Exit()                    {}

// A rig is a real cluster and a gateway in front of it which carries out by
// query itself.
type rig struct {
	t       *testing.T
	real    *harness.Cluster
	dialect esapi.Version
	prefix  string
	url     string
	// What documents has made, and what is there now.
	pristine, now state
}

// newRig makes one. The dialect is the cluster's own unless one is given; if
// two, the gateway is told of a second cluster, which is never asked.
func newRig(t *testing.T, version, dialect string, two bool) *rig {
	t.Helper()
	real := harness.Elasticsearch(t, version)
	client, err := real.Client()
	if err != nil {
		t.Fatal(err)
	}
	v, err := esapi.ParseVersion(dialect)
	if err != nil {
		t.Fatal(err)
	}
	way := &direct{real, client}
	c := cluster.New("master", way, cluster.Options{})
	t.Cleanup(c.Close)
	config := gateway.Config{
		Source: c, Dialect: v,
		Forward: func(*cluster.Cluster) gateway.Forwarder { return way },
		Enter:   func(context.Context, bool) (gateway.Lease, error) { return lease{c}, nil },
	}
	if two {
		config.Target = cluster.New("follower", way, cluster.Options{})
		t.Cleanup(config.Target.Close)
	}
	g := gateway.New(config)
	s := httptest.NewServer(g)
	t.Cleanup(func() { s.Close(); g.Close() })
	return &rig{t: t, real: real, dialect: v, prefix: real.Prefix(t), url: s.URL}
}

// fill puts the prefix and the type in: PRE and TYPE.
func (r *rig) fill(s string) string {
	return strings.NewReplacer("PRE", r.prefix, "TYPE", r.typ()).Replace(s)
}

func (r *rig) typ() string {
	if r.dialect.Major >= 7 {
		return "_doc"
	}
	return "doc"
}

// native sends a request to the cluster itself, asked one to the gateway.
func (r *rig) native(method, path, body string) (int, string) {
	r.t.Helper()
	status, answer := r.real.Do(r.t, method, r.fill(path), r.fill(body))
	return status, string(answer)
}

func (r *rig) asked(method, path, body string) (int, string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, r.url+r.fill(path), strings.NewReader(r.fill(body)))
	if err != nil {
		r.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
		if strings.Contains(path, "_bulk") {
			req.Header.Set("Content-Type", "application/x-ndjson")
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	var b strings.Builder
	buf := make([]byte, 32<<10)
	for {
		n, err := res.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return res.StatusCode, b.String()
		}
	}
}

// must sends a request by one of the two ways; it has to succeed.
func (r *rig) must(send func(method, path, body string) (int, string), method, path, body string) string {
	r.t.Helper()
	status, answer := send(method, path, body)
	if status >= 300 {
		r.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

// mapping wraps properties as the dialect wants it.
func (r *rig) mapping(properties string) string {
	if r.dialect.Major >= 7 {
		return `{` + properties + `}`
	}
	return `{"TYPE":{` + properties + `}}`
}

// documents makes the indices PREa, with n documents, two of which have changed
// since the search sees them if stale, and PREb with one.
func (r *rig) documents(send func(method, path, body string) (int, string), n int, stale bool) {
	r.t.Helper()
	r.make(send, n, letters)
	if stale {
		r.outdate(send)
	}
}

// make makes those of the indices a, b and c anew; there is no c.
func (r *rig) make(send func(method, path, body string) (int, string), n int, which []string) {
	r.t.Helper()
	index := `{"settings":{"number_of_shards":2,"number_of_replicas":0,"refresh_interval":"-1"},"mappings":` + r.mapping(`"properties":{"k":{"type":"keyword"},"n":{"type":"integer"}}`) + `}`
	typ := ""
	if r.dialect.Major < 7 {
		typ = `"_type":"TYPE",`
	}
	var bulk strings.Builder
	for _, name := range which {
		send("DELETE", "/PRE"+name, "")
		switch name {
		case "a":
			for i := range n {
				routing := ""
				if i%5 == 0 {
					routing = fmt.Sprintf(`,"routing":"r%d"`, i%3)
				}
				fmt.Fprintf(&bulk, `{"index":{"_index":"PREa",%s"_id":"%d"%s}}`+"\n"+`{"k":"%c","n":%d}`+"\n", typ, i, routing, 'a'+i%2, i)
			}
		case "b":
			bulk.WriteString(`{"index":{"_index":"PREb",` + typ + `"_id":"3"}}` + "\n" + `{"k":"there"}` + "\n")
		case "c":
			continue
		}
		r.must(send, "PUT", "/PRE"+name, index)
	}
	if bulk.Len() == 0 {
		return
	}
	if a := r.must(send, "POST", "/_bulk?refresh=true", bulk.String()); gjson.Get(a, "errors").Bool() {
		r.t.Fatal(a)
	}
}

// outdate changes two documents of PREa, which the search does not see.
func (r *rig) outdate(send func(method, path, body string) (int, string)) {
	r.t.Helper()
	for _, id := range []string{"1", "2"} {
		r.must(send, "PUT", "/PREa/TYPE/"+id, `{"k":"changed"}`)
	}
}

// proxy forwards what needs nobody to look into it.
type proxy struct{ c *cluster.Cluster }

func (p *proxy) Forward(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	req := esapi.NewRequest(r.Method, r.URL.RequestURI(), body)
	res, err := p.c.Send(r.Context(), req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	w.WriteHeader(res.Status)
	_, err = io.Copy(w, res.Body)
	return err
}
