package gather

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// A group is writes of one kind, to one index. They are sent to a real cluster one by
// one, and to an index in the same state all in one bulk.
type group struct {
	name   string
	on     string                   // majors, and "R" for 7.10.2 instead of 7.17.28; "" for all
	header map[string]string        // of all of them
	before []string                 // requests that make the index INDEX, as "METHOD path body"
	index  string                   // is added to the name
	whole  bool                     // the bulk may be refused as a whole
	after  []string                 // documents that must be equal at last, as paths below the index
	change func(r *esapi.Request)   // is shown what goes to the cluster
	mask   func(text string) string // of what cannot be equal
	writes func(v esapi.Version) (list []*one)
}

// A one is one write.
type one struct {
	name, method, path, body string
	again                    bool // it is refused in the bulk, and sent once more
	differs                  string
}

// paths of a version.
func doc(v esapi.Version, id string) string {
	if v.Before(esapi.V(7, 0)) {
		return "/INDEX/thing/" + id
	}
	return "/INDEX/_doc/" + id
}

func creates(v esapi.Version, id string) string {
	if v.Before(esapi.V(7, 0)) {
		return "/INDEX/thing/" + id + "/_create"
	}
	return "/INDEX/_create/" + id
}

func updates(v esapi.Version, id string) string {
	if v.Before(esapi.V(7, 0)) {
		return "/INDEX/thing/" + id + "/_update"
	}
	return "/INDEX/_update/" + id
}

func put(name, path, body string) *one {
	return &one{name: name, method: "PUT", path: path, body: body}
}
func post(name, path, body string) *one {
	return &one{name: name, method: "POST", path: path, body: body}
}
func remove(name, path string) *one        { return &one{name: name, method: "DELETE", path: path} }
func (o *one) refused() *one               { o.again = true; return o }
func each(list ...*one) []*one             { return list }
func (g group) runsOn(release string) bool { return g.on == "" || strings.Contains(g.on, release[:1]) }

// mapping makes a request that makes the index.
func mapping(v esapi.Version, mapping, settings string) string {
	if v.Before(esapi.V(7, 0)) {
		mapping = `{"thing":` + mapping + `}`
	}
	return `PUT /INDEX {"settings":{"number_of_shards":1,"number_of_replicas":0` + settings + `},"mappings":` + mapping + `}`
}

func groups(v esapi.Version, release string) []group {
	scripts := release != "7.17.28" && v.Major != 8
	put1 := func(id string) string { return "PUT " + doc(v, id) + ` {"n":1,"s":"old"}` }
	plain := mapping(v, `{"properties":{"n":{"type":"long"},"s":{"type":"keyword"},"o":{"properties":{"x":{"type":"long"}}}}}`, "")
	all := []group{{
		name:   "operations",
		before: []string{plain, put1("e1"), put1("e2"), put1("e3"), put1("e4"), put1("e5"), put1("e6"), put1("e7"), put1("e8"), put1("e9"), put1("d1"), put1("u1"), put1("u2"), put1("u3"), put1("u4"), put1("u5"), put1("u6"), put1("s3"), put1("s4"), put1("s5"), put1("s6"), put1("s7"), "PUT " + doc(v, "r1") + `?routing=r {"n":1}`},
		after:  []string{"new", "e1", "e3", "u1", "u4", "c1", "nested", "many"},
		writes: func(v esapi.Version) []*one {
			list := each(
				put("index a new one", doc(v, "new"), `{"n":1,"s":"a"}`),
				post("index a new one with POST", doc(v, "post"), `{"n":1,"s":"a"}`),
				put("index an existing one", doc(v, "e1"), `{"n":2,"s":"b"}`),
				put("index an existing one as it is", doc(v, "e2"), `{"n":1,"s":"old"}`),
				put("index with a newline behind", doc(v, "e3"), `{"n":7}`+"\n"),
				put("index an empty object", doc(v, "empty"), `{}`),
				put("index with op_type=index", doc(v, "e4")+"?op_type=index", `{"n":2}`),
				put("index with the default timeout", doc(v, "e5")+"?timeout=1m", `{"n":2}`),
				put("a slash behind", doc(v, "slash")+"/", `{"n":2}`),
				post("no id", strings.TrimSuffix(doc(v, ""), "/"), `{"n":3}`),
				post("no id, a slash behind", doc(v, ""), `{"n":3}`),
				post("no id, index", strings.TrimSuffix(doc(v, ""), "/")+"?op_type=index", `{"n":3}`),
				post("no id, routing", strings.TrimSuffix(doc(v, ""), "/")+"?routing=abc", `{"n":3}`),
				put("create by op_type", doc(v, "c1")+"?op_type=create", `{"n":1}`),
				put("create by op_type an existing one", doc(v, "e6")+"?op_type=create", `{"n":1}`).refused(),
				put("create", creates(v, "c2"), `{"n":1}`),
				post("create with POST", creates(v, "c3"), `{"n":1}`),
				put("create an existing one", creates(v, "e7"), `{"n":1}`).refused(),
				put("with routing", doc(v, "r2")+"?routing=some+where/%C3%A4", `{"n":1}`),
				put("existing with routing", doc(v, "r1")+"?routing=r", `{"n":1}`),
				put("create with routing", creates(v, "r3")+"?routing=q", `{"n":1}`),
				post("update", updates(v, "u1"), `{"doc":{"n":5,"new":"x"}}`),
				post("update that changes nothing", updates(v, "u2"), `{"doc":{"n":1}}`),
				post("update, detect_noop off", updates(v, "u3"), `{"doc":{"n":1},"detect_noop":false}`),
				post("update or insert, existing", updates(v, "u4"), `{"doc":{"n":9},"doc_as_upsert":true}`),
				post("update or insert, new", updates(v, "u7"), `{"doc":{"n":9},"doc_as_upsert":true}`),
				post("update with upsert, existing", updates(v, "u5"), `{"doc":{"n":9},"upsert":{"n":0}}`),
				post("update with upsert, new", updates(v, "u8"), `{"doc":{"n":9},"upsert":{"n":0}}`),
				post("update with upsert and routing, new", updates(v, "u9")+"?routing=abc", `{"doc":{"n":9},"upsert":{"n":0}}`),
				post("update a missing one", updates(v, "missing"), `{"doc":{"n":9}}`).refused(),
				post("update that the mapping refuses", updates(v, "u6"), `{"doc":{"n":"no number"}}`).refused(),
				remove("delete", doc(v, "d1")),
				remove("delete a missing one", doc(v, "d2")),
				remove("delete with routing", doc(v, "r1")+"?routing=r"),
				remove("delete with another routing", doc(v, "e8")+"?routing=other"),
				put("what the mapping refuses", doc(v, "m1"), `{"n":"no number"}`).refused(),
				put("an object for a value", doc(v, "m2"), `{"s":{"a":1}}`).refused(),
				put("a value for an object", doc(v, "m3"), `{"o":"text"}`).refused(),
				put("new fields", doc(v, "nested"), `{"a":{"b":[{"c":1.50},{"c":2E3}]},"t":"2020-01-01","u":"\u00e4ö𝄞","esc":"\"\\\/"}`),
				&one{name: "a field twice", method: "PUT", path: doc(v, "twice"), body: `{"n":1,"n":2}`, again: v.AtLeast(esapi.V(6, 0))},
				put("an empty field name", doc(v, "noname"), `{"":1}`).refused(),
				put("dots", doc(v, "dots"), `{"o.x":1}`),
				put("a field of Elasticsearch's own", doc(v, "meta"), `{"_id":"x"}`).refused(),
			)
			if v.AtLeast(esapi.V(7, 5)) {
				list = append(list, post("no id, create", strings.TrimSuffix(doc(v, ""), "/")+"?op_type=create", `{"n":3}`))
			}
			if scripts {
				list = append(list,
					post("script", updates(v, "s3"), `{"script":{"source":"ctx._source.n += params.by","params":{"by":3}}}`),
					post("script that does nothing", updates(v, "s4"), `{"script":{"source":"ctx.op = 'none'"}}`),
					post("script that deletes", updates(v, "s5"), `{"script":{"source":"ctx.op = 'delete'"}}`),
					post("script with upsert", updates(v, "s1"), `{"script":{"source":"ctx._source.n++"},"upsert":{"n":1}}`),
					post("scripted upsert", updates(v, "s2"), `{"scripted_upsert":true,"script":{"source":"ctx._source.n = 4"},"upsert":{}}`),
					post("script that fails", updates(v, "s6"), `{"script":{"source":"ctx._source.n = null.length()"}}`).refused(),
					post("script that is none", updates(v, "s7"), `{"script":{"source":"ctx._source.n = "}}`).refused(),
				)
			}
			return list
		},
	}, {
		name:   "ids",
		before: []string{plain},
		writes: func(v esapi.Version) []*one {
			var list []*one
			for i, id := range []string{
				"a%2Fb", "a%20b", "a+b", "a%2Bb", "a:b", "a~b", "a*b", "a%2Ab", "a%25b", "a%2525b", "%C3%A4%F0%9D%84%9E", "a,b", "a;b", "a=b&c", "a@b$c", "a'b(c)!", "a%3Fb%23c",
				"%3Cscript%3E", "a|b^c`d", "a%7Bb%7D%5B0%5D", "-a", "_a", ".a", "..%2Fa", "0", "1e3", "true", "null", "A", "%C2%A0", "%E2%80%A8", strings.Repeat("x", 512), strings.Repeat("%C3%A4", 256),
			} {
				list = append(list, put(fmt.Sprintf("id %d %s", i, id), doc(v, id), `{"n":1}`))
			}
			return list
		},
	}, {
		name:   "no such document",
		before: []string{mapping(v, `{"dynamic":"strict","properties":{"n":{"type":"long"}}}`, "")},
		writes: func(v esapi.Version) []*one {
			return each(
				put("strict", doc(v, "1"), `{"n":1,"x":2}`).refused(),
				put("strict, good", doc(v, "2"), `{"n":1}`),
				post("strict, no id", strings.TrimSuffix(doc(v, ""), "/"), `{"x":1}`).refused(),
				post("strict, upsert", updates(v, "3"), `{"doc":{"x":1},"doc_as_upsert":true}`).refused(),
			)
		},
		mask: autoIDs,
	}, {
		name:   "limit of fields",
		before: []string{mapping(v, `{"properties":{"n":{"type":"long"}}}`, `,"index.mapping.total_fields.limit":20`)},
		writes: func(v esapi.Version) []*one {
			return each(
				put("one too many", doc(v, "1"), "{"+strings.Join(fields(25), ",")+"}").refused(),
				put("good", doc(v, "2"), `{"n":1}`),
			)
		},
	}, {
		name:   "routing required",
		before: []string{mapping(v, `{"_routing":{"required":true},"properties":{"n":{"type":"long"}}}`, "")},
		writes: func(v esapi.Version) []*one {
			return each(
				put("index without", doc(v, "1"), `{"n":1}`).refused(),
				put("create without", creates(v, "2"), `{"n":1}`).refused(),
				post("update without", updates(v, "3"), `{"doc":{"n":1},"doc_as_upsert":true}`).refused(),
				remove("delete without", doc(v, "4")).refused(),
				put("index", doc(v, "1")+"?routing=a", `{"n":1}`),
				put("create", creates(v, "2")+"?routing=a", `{"n":1}`),
				post("update", updates(v, "3")+"?routing=a", `{"doc":{"n":1},"doc_as_upsert":true}`),
				remove("delete", doc(v, "4")+"?routing=a"),
			)
		},
		mask: autoIDs,
	}, {
		name:   "routing required, no id",
		before: []string{mapping(v, `{"_routing":{"required":true},"properties":{"n":{"type":"long"}}}`, "")},
		whole:  true,
		writes: func(v esapi.Version) []*one {
			good := put("index", doc(v, "1")+"?routing=a", `{"n":1}`)
			good.again = v.Major < 8
			return each(post("index without id", strings.TrimSuffix(doc(v, ""), "/"), `{"n":1}`).refused(), good)
		},
		mask: autoIDs,
	}, {
		name:   "closed",
		before: []string{plain, put1("1"), "POST /INDEX/_close"},
		writes: refusals,
	}, {
		name:   "blocked for writes",
		before: []string{plain, put1("1"), `PUT /INDEX/_settings {"index.blocks.write":true}`},
		writes: refusals,
	}, {
		name:   "read-only",
		before: []string{plain, put1("1"), `PUT /INDEX/_settings {"index.blocks.read_only":true}`},
		writes: refusals,
	}, {
		name:   "disk full",
		on:     "678R",
		before: []string{plain, put1("1"), `PUT /INDEX/_settings {"index.blocks.read_only_allow_delete":true}`},
		writes: func(v esapi.Version) []*one {
			list := refusals(v)
			for _, o := range list {
				o.again = v.Before(esapi.V(7, 4)) // 429 later
			}
			return list[:len(list)-1]
		},
	}, {
		name:   "an alias",
		before: []string{strings.Replace(plain, "/INDEX", "/INDEX-real", 1), `POST /_aliases {"actions":[{"add":{"index":"INDEX-real","alias":"INDEX"}}]}`},
		writes: someOfAll,
		mask:   autoIDs,
	}, {
		name:   "an alias with routing",
		before: []string{strings.Replace(plain, "/INDEX", "/INDEX-real", 1), `POST /_aliases {"actions":[{"add":{"index":"INDEX-real","alias":"INDEX","routing":"there"}}]}`},
		writes: func(v esapi.Version) []*one {
			return append(someOfAll(v), put("the routing of the alias", doc(v, "r1")+"?routing=there", `{"n":1}`), put("another routing", doc(v, "r2")+"?routing=elsewhere", `{"n":1}`).refused())
		},
		mask: autoIDs,
	}, {
		name:   "an alias with a filter",
		before: []string{strings.Replace(plain, "/INDEX", "/INDEX-real", 1), `POST /_aliases {"actions":[{"add":{"index":"INDEX-real","alias":"INDEX","filter":{"term":{"n":1}}}}]}`},
		writes: someOfAll,
		mask:   autoIDs,
	}, {
		name:   "an alias of two",
		before: []string{strings.Replace(plain, "/INDEX", "/INDEX-real", 1), strings.Replace(plain, "/INDEX", "/INDEX-two", 1), `POST /_aliases {"actions":[{"add":{"index":"INDEX-real","alias":"INDEX"}},{"add":{"index":"INDEX-two","alias":"INDEX"}}]}`},
		mask:   func(s string) string { return strings.ReplaceAll(s, "INDEX-two, INDEX-real", "INDEX-real, INDEX-two") },
		writes: refusals, whole: true,
	}}
	vendored := func(compatible string) map[string]string {
		t := "application/vnd.elasticsearch+json; compatible-with=" + compatible
		return map[string]string{"Accept": t, "Content-Type": t}
	}
	for _, h := range []struct {
		name, on string
		header   map[string]string
	}{
		{"any", "", map[string]string{"Accept": "*/*"}},
		{"a charset", "", map[string]string{"Accept": "application/json", "Content-Type": "application/json; charset=utf-8"}},
		{"an opaque id", "", map[string]string{"X-Opaque-Id": "me"}},
		{"no content type", "5", map[string]string{"Content-Type": ""}},
		{"8", "8", vendored("8")},
		{"7", "8", vendored("7")},
	} {
		all = append(all, group{name: "headers: " + h.name, on: h.on, header: h.header, before: []string{plain}, mask: autoIDs, writes: func(v esapi.Version) []*one {
			list := someOfAll(v)
			if h.header["Content-Type"] != "application/json; charset=utf-8" && h.header["Accept"] == h.header["Content-Type"] || h.header["Content-Type"] == "" && h.on != "" {
				list = list[:len(list)-1] // the delete, which has no content type, is of another kind
			}
			return list
		}})
	}
	all = append(all, group{
		name: "headers: deletes that accept 8", on: "8", header: map[string]string{"Accept": vendored("8")["Accept"]}, before: []string{plain, put1("1")},
		writes: func(v esapi.Version) []*one {
			return each(remove("delete", doc(v, "1")), remove("delete a missing one", doc(v, "2")))
		},
	})
	if v.Major == 7 {
		all = append(all, group{
			name:   "an index with a type of its own",
			before: []string{`PUT /INDEX?include_type_name=true {"mappings":{"thing":{"properties":{"n":{"type":"long"}}}}}`},
			writes: someOfAll, mask: autoIDs,
		})
	}
	if v.Major == 6 {
		all = append(all, group{
			name: "the type _doc",
			writes: func(v esapi.Version) []*one {
				list := someOfAll(v)
				for _, o := range list {
					o.path = strings.Replace(o.path, "/thing", "/_doc", 1)
				}
				return list
			},
			before: []string{`PUT /INDEX {"mappings":{"_doc":{"properties":{"n":{"type":"long"}}}}}`},
			mask:   autoIDs,
		})
	}
	if v.Major < 7 {
		all = append(all, group{
			name:   "another type",
			before: []string{plain, put1("1")},
			writes: func(v esapi.Version) []*one {
				list := someOfAll(v)
				for _, o := range list {
					o.path = strings.Replace(o.path, "/thing", "/other", 1)
					o.again = o.again || v.Major == 6
				}
				return list
			},
			mask: autoIDs,
		}, group{
			name:   "a bad type",
			before: []string{plain, put1("1")},
			writes: func(v esapi.Version) []*one {
				list := refusals(v)
				for _, o := range list {
					o.path = strings.Replace(o.path, "/thing", "/b%23d", 1)
				}
				return list[:len(list)-1]
			},
		})
	}
	return all
}

// noShard is a group for a cluster of its own: requests to all indices of one wait for the
// shard.
func noShard(v esapi.Version) group {
	return group{
		name:   "no shard",
		before: []string{strings.Replace(mapping(v, `{"properties":{"n":{"type":"long"}}}`, `,"index.routing.allocation.require._name":"nobody"`), "/INDEX", "/INDEX?wait_for_active_shards=0", 1)},
		change: func(r *esapi.Request) { r.Params.Set("timeout", "100ms") },
		mask: func(s string) string {
			return regexp.MustCompile(`Timeout: \[\w+\], request: .*?\]"`).ReplaceAllString(s, `Timeout"`)
		},
		writes: func(v esapi.Version) []*one {
			return each(
				put("index", doc(v, "1"), `{"n":1}`),
				put("create", creates(v, "2"), `{"n":1}`),
				remove("delete", doc(v, "4")),
			)
		},
	}
}

// refusals are writes that are all refused.
func refusals(v esapi.Version) []*one {
	return each(
		put("index", doc(v, "1"), `{"n":1}`).refused(),
		put("create", creates(v, "2"), `{"n":1}`).refused(),
		post("update", updates(v, "1"), `{"doc":{"n":1}}`).refused(),
		post("upsert", updates(v, "3"), `{"doc":{"n":1},"doc_as_upsert":true}`).refused(),
		remove("delete", doc(v, "1")).refused(),
	)
}

// someOfAll are writes of all sorts.
func someOfAll(v esapi.Version) []*one {
	return each(
		put("index", doc(v, "1"), `{"n":1}`),
		put("index with routing", doc(v, "2")+"?routing=there", `{"n":1}`),
		put("create", creates(v, "3"), `{"n":1}`),
		post("no id", strings.TrimSuffix(doc(v, ""), "/"), `{"n":1}`),
		post("upsert", updates(v, "4"), `{"doc":{"n":1},"doc_as_upsert":true}`),
		post("update a missing one", updates(v, "5"), `{"doc":{"n":1}}`).refused(),
		put("refused", doc(v, "6"), `{"n":"x"}`).refused(),
		remove("delete a missing one", doc(v, "7")),
	)
}

// fields are members of an object.
func fields(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf(`"f%d":%d`, i, i))
	}
	return list
}

// TestAloneOrTogether compares what real clusters answer to writes alone with what their
// clients get when they go together.
func TestAloneOrTogether(t *testing.T) {
	harness.Real(t)
	for _, release := range []string{"5.6.16", "6.8.23", "7.10.2", "7.17.28", "8.7.1"} {
		t.Run(release, func(t *testing.T) {
			v, err := esapi.ParseVersion(release)
			if err != nil {
				t.Fatal(err)
			}
			c := newReal(t, harness.Elasticsearch(t, release))
			prefix := c.Prefix(t)
			for i, g := range groups(v, release) {
				if g.on != "" && !strings.Contains(g.on, release[:1]) && !(release == "7.10.2" && strings.Contains(g.on, "R")) {
					continue
				}
				t.Run(g.name, func(t *testing.T) {
					c.compare(t, v, g, fmt.Sprintf("%s%da", prefix, i), fmt.Sprintf("%s%db", prefix, i))
				})
			}
		})
	}
}

// TestNoShard compares the same for an index whose shard is not there: items that failed
// with 503 may have been carried out, and are not sent once more.
func TestNoShard(t *testing.T) {
	harness.Real(t)
	c := newReal(t, harness.NewElasticsearch(t, harness.Options{Version: "8.7.1", Memory: true}))
	c.compare(t, esapi.V(8, 7), noShard(esapi.V(8, 7)), "alone-a", "alone-b")
}

// A real is a real cluster as a Sender.
type real struct {
	*harness.Cluster
	client *http.Client
}

func newReal(t *testing.T, c *harness.Cluster) *real {
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	return &real{c, client}
}

// Send implements esapi.Sender.
func (c *real) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	target := c.URL() + r.Path
	if q := r.Params.Encode(); q != "" {
		target += "?" + q
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, r.Reader())
	if err != nil {
		return nil, err
	}
	req.Header = r.Header.Clone()
	req.Header.Set("Accept-Encoding", "identity")
	res, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	return &esapi.Response{Status: res.StatusCode, Header: res.Header, Body: res.Body}, nil
}

func (c *real) compare(t *testing.T, v esapi.Version, g group, aloneIn, togetherIn string) {
	in := func(text, index string) string { return strings.ReplaceAll(text, "INDEX", index) }
	for _, index := range []string{aloneIn, togetherIn} {
		for _, line := range g.before {
			f := strings.SplitN(in(line, index)+" ", " ", 3)
			if status, answer := c.Do(t, f[0], f[1], strings.TrimSpace(f[2])); status >= 300 {
				t.Fatalf("%s: %d %s", line, status, answer)
			}
		}
	}
	t.Cleanup(func() {
		for _, index := range []string{aloneIn, togetherIn} {
			c.Do(t, "PUT", "/"+index+"/_settings", `{"index.blocks.read_only":null,"index.blocks.read_only_allow_delete":null}`)
		}
	})
	writes := g.writes(v)
	request := func(o *one, index string) *esapi.Request {
		r := esapi.NewRequest(o.method, in(o.path, index), []byte(o.body))
		for name, value := range g.header {
			if name == "Content-Type" && o.body == "" {
				continue
			}
			if r.Header.Set(name, value); value == "" {
				r.Header.Del(name)
			}
		}
		return r
	}
	change := g.change
	if change == nil {
		change = func(*esapi.Request) {}
	}

	want := make([]string, len(writes))
	for i, o := range writes {
		r := request(o, aloneIn)
		change(r)
		want[i] = shown(t, v, c, r, aloneIn, g.mask)
	}

	var told []int
	gatherer := New(func(n int) { told = append(told, n) })
	gatherer.maxWait, gatherer.tooLong = time.Hour, time.Hour // however slow the machine is
	of := cluster.New("real", c, cluster.Options{})
	defer of.Close()
	to := Target{Cluster: of, Version: v}
	if _, ok, err := of.Facts().Lookup(t.Context(), togetherIn); err != nil || !ok {
		t.Fatal(ok, err)
	}
	release := plug(t, gatherer, to, request(put("", doc(v, "plug"), `{}`), togetherIn))
	got := make([]string, len(writes))
	resent := make([]atomic.Int32, len(writes))
	waiting := 0
	var done sync.WaitGroup
	for i, o := range writes {
		sender := gatherer.Sender(to, senderFunc(func(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
			if !strings.HasSuffix(r.Path, "/_bulk") {
				resent[i].Add(1)
			}
			change(r)
			res, err := c.Send(ctx, r)
			if err == nil && strings.HasSuffix(r.Path, "/_bulk") && res.Status != 200 && !g.whole {
				answer, _ := io.ReadAll(res.Body)
				t.Errorf("the bulk is answered %d %s", res.Status, answer)
				res.Body = io.NopCloser(bytes.NewReader(answer))
			}
			return res, err
		}))
		if _, ok, err := of.Facts().Lookup(t.Context(), togetherIn); err != nil || !ok { // what is known of it may be too old
			t.Error(ok, err)
		}
		done.Add(1)
		go func() {
			defer done.Done()
			got[i] = shown(t, v, sender, request(o, togetherIn), togetherIn, g.mask)
		}()
		if waiting++; !waits(gatherer, waiting) {
			waiting--
			t.Errorf("%s does not wait for others", o.name)
		}
	}
	release()
	done.Wait()
	if !slices.Equal(told, []int{len(writes)}) {
		t.Errorf("%d writes went together as %v", len(writes), told)
	}
	for i, o := range writes {
		if got[i] != want[i] {
			t.Errorf("%s: %s %s %s\n   alone: %s\ntogether: %s", o.name, o.method, o.path, o.body, want[i], got[i])
		}
		if again := resent[i].Load() > 0; again != o.again {
			t.Errorf("%s: sent once more: %v; answered %s", o.name, again, want[i])
		}
	}
	for _, id := range g.after {
		_, a := c.Do(t, "GET", in(doc(v, id), aloneIn), "")
		_, b := c.Do(t, "GET", in(doc(v, id), togetherIn), "")
		a = bytes.ReplaceAll(a, []byte("}\n"), []byte("}")) // blanks behind a document are not stored
		b = bytes.ReplaceAll(b, []byte(togetherIn), []byte(aloneIn))
		if masked(string(a)) != masked(string(b)) {
			t.Errorf("%s:\n   alone: %s\ntogether: %s", id, a, b)
		}
	}
	if len(gatherer.kinds) != 0 {
		t.Errorf("%d kinds are left", len(gatherer.kinds))
	}
}

// plug has two writes be under way until release is called.
func plug(t *testing.T, g *Gatherer, to Target, r *esapi.Request) (release func()) {
	t.Helper()
	hold, under := make(chan struct{}), make(chan struct{})
	next := senderFunc(func(context.Context, *esapi.Request) (*esapi.Response, error) {
		under <- struct{}{}
		<-hold
		return esapi.NewResponse(200, []byte(`{}`)), nil
	})
	var done sync.WaitGroup
	for range maxFlights {
		done.Go(func() {
			if _, err := g.Sender(to, next).Send(context.Background(), r); err != nil {
				t.Error(err)
			}
		})
		<-under
	}
	return func() {
		close(hold)
		done.Wait()
	}
}

// waits waits until a number of writes wait in all, and reports whether they do.
func waits(g *Gatherer, n int) bool {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Microsecond) {
		waiting := 0
		g.mu.Lock()
		for _, q := range g.kinds {
			waiting += len(q.waiting)
		}
		g.mu.Unlock()
		if waiting == n {
			return true
		}
	}
	return false
}

// shown is an answer as text, without what differs from request to request.
func shown(t *testing.T, v esapi.Version, s esapi.Sender, r *esapi.Request, index string, mask func(string) string) string {
	res, err := s.Send(t.Context(), r)
	if err != nil {
		t.Errorf("%s %s: %v", r.Method, r.Path, err)
		return ""
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("%s %s: %v", r.Method, r.Path, err)
	}
	if n := res.Header.Get("Content-Length"); n != fmt.Sprint(len(body)) {
		t.Errorf("%s %s: Content-Length %s for %d bytes", r.Method, r.Path, n, len(body))
	}
	var b strings.Builder
	fmt.Fprint(&b, res.Status)
	for _, name := range slices.Sorted(maps.Keys(res.Header)) {
		if name != "Content-Length" {
			fmt.Fprintf(&b, " %s: %s;", name, strings.Join(res.Header[name], "|"))
		}
	}
	fmt.Fprintf(&b, " %s", body)
	text := strings.ReplaceAll(b.String(), index, "INDEX")
	if id := gjson.GetBytes(body, "_id").Str; id != "" && esapi.ParseEndpoint(r.Method, r.Path, v).ID == "" {
		text = strings.ReplaceAll(text, id, "MADE")
	}
	if mask != nil {
		text = mask(text)
	}
	return masked(text)
}

// autoIDs hides ids that a cluster has made.
func autoIDs(text string) string { return madeID.ReplaceAllString(text, "${1}MADE$2") }

var (
	madeID   = regexp.MustCompile(`([^A-Za-z0-9_-])[A-Za-z0-9_-]{20}([^A-Za-z0-9_-])`)
	volatile = []*regexp.Regexp{
		regexp.MustCompile(`"_seq_no":\d+`),
		regexp.MustCompile(`"index_uuid":"[^"]*"`),
		regexp.MustCompile(`StreamInputWrapper@\w+`),
		regexp.MustCompile(`"\w\w\w, \d\d \w\w\w \d{4} [0-9:]{8} GMT"`),
	}
)

func masked(text string) string {
	for _, r := range volatile {
		text = r.ReplaceAllString(text, "…")
	}
	return text
}

// TestLearn asks real clusters which indices take part.
func TestLearn(t *testing.T) {
	harness.Real(t)
	for _, release := range []string{"5.6.16", "6.8.23", "7.10.2", "8.7.1"} {
		t.Run(release, func(t *testing.T) {
			v, err := esapi.ParseVersion(release)
			if err != nil {
				t.Fatal(err)
			}
			c := newReal(t, harness.Elasticsearch(t, release))
			prefix := c.Prefix(t)
			of := cluster.New("real", c, cluster.Options{})
			defer of.Close()
			for _, test := range []struct {
				name, body, routing string
				since               esapi.Version
				takesPart           bool
			}{
				{name: "plain", body: `{}`, takesPart: true},
				{name: "missing"},
				{name: "alias", body: `{"aliases":{"ALIAS":{"index_routing":"there","search_routing":"there"}}}`, takesPart: true, routing: "there"},
				{name: "default", body: `{"settings":{"index.default_pipeline":"x"}}`, since: esapi.V(6, 5)},
				{name: "final", body: `{"settings":{"index.final_pipeline":"x"}}`, since: esapi.V(7, 5)},
			} {
				if v.Before(test.since) {
					continue
				}
				index := prefix + test.name
				if test.body != "" {
					if status, answer := c.Do(t, "PUT", "/"+index, strings.Replace(test.body, "ALIAS", index+"-a", 1)); status != 200 {
						t.Fatalf("%d %s", status, answer)
					}
				}
				if test.name == "alias" {
					index += "-a"
				}
				w := &call{}
				k := kind{place: place{Target{Cluster: of, Version: v}, index}}
				if w.learn(k) {
					t.Errorf("%s takes part before it is known", test.name)
				}
				if _, _, err := of.Facts().Lookup(t.Context(), index); err != nil {
					t.Fatal(err)
				}
				if takesPart := w.learn(k); takesPart != test.takesPart || w.aliasRouting != test.routing {
					t.Errorf("%s: %v, routing %q", test.name, takesPart, w.aliasRouting)
				}
			}
		})
	}
}
