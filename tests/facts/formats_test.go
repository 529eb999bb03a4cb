package facts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/tests/chain"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// document has numbers and texts of all sizes.
const document = `{"text":"ä𝄞\n","long":"` + sixty + sixty + `","n":12345678901,"small":-3,"f":0.25,"t":true,"none":null,"list":[1,2],"o":{"a":{"x":1},"e":{}}}`

const sixty = "123456789 123456789 123456789 123456789 123456789 123456789 "

// TestFormats sends and reads CBOR and SMILE at each server and through the
// gateway on each other: whoever asks gets the same status, type and values.
func TestFormats(t *testing.T) {
	harness.Real(t)
	for _, client := range "5678" {
		home := harness.Elasticsearch(t, releases[byte(client)])
		prefix := home.Prefix(t)
		want := conversation(t, home.URL(), prefix, client)
		for _, on := range "5678" {
			if on == client {
				continue
			}
			t.Run(fmt.Sprintf("%c->%c", client, on), func(t *testing.T) {
				c := harness.Elasticsearch(t, releases[byte(on)])
				g, err := chain.Start(chain.Options{Dialect: releases[byte(client)], Cluster: c.URL()})
				if err != nil {
					t.Fatal(err)
				}
				defer g.Close()
				for i, got := range conversation(t, g.URL, c.Prefix(t), client) {
					if got != want[i] {
						t.Errorf("home:\n%s\ngateway:\n%s", want[i], got)
					}
				}
			})
		}
	}
}

// conversation is what a client of a dialect does, and what it is told.
func conversation(t *testing.T, base, prefix string, client rune) (told []string) {
	t.Helper()
	doc := "/" + prefix + "i/_doc/"
	meta := `"_index":"` + prefix + `i",`
	if client < '7' {
		doc = "/" + prefix + "i/thing/"
		meta += `"_type":"thing",`
	}
	ask := func(method, path, contentType, accept string, body []byte, look string) {
		r, err := http.NewRequest(method, base+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		if accept != "" {
			r.Header.Set("Accept", accept)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		kind := res.Header.Get("Content-Type")
		plain, err := esapi.ToJSON(answer, esapi.FormatOf(kind), false, 1<<20)
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		told = append(told, fmt.Sprintf("%s %s %s %s: %d %s %s", method, strings.ReplaceAll(path, prefix, ""), contentType, accept, res.StatusCode, kind, value(t, gjson.GetBytes(plain, look))))
	}
	for _, f := range []esapi.Format{esapi.CBOR, esapi.SMILE} {
		kind := "application/" + string(f)
		ask("PUT", doc+string(f)+"?refresh=true", kind, "", as(t, f, document), "result")
		ask("GET", doc+string(f), "", "", nil, "_source")
		ask("GET", doc+string(f), "", kind, nil, "_source")
		ask("GET", doc+string(f)+"?format="+string(f), "", "", nil, "_source")
		search := as(t, f, `{"query":{"match_all":{}},"sort":[{"n":"asc"}]}`)
		ask("POST", "/"+prefix+"i/_search", kind, "", search, "hits.hits.0._source.o")
		ask("POST", "/"+prefix+"i/_search", kind, "application/json", search, "hits.hits.0._source.o")
		ask("POST", "/"+prefix+"i/_search", kind, "", as(t, f, `{"query":{"nonsense":{}}}`), "status")
		ask("GET", "/_cat/count/"+prefix+"i?h=count&format="+string(f), "", "", nil, "0.count")
	}
	var bulk []byte
	for _, line := range []string{`{"index":{` + meta + `"_id":"b1"}}`, document, `{"index":{` + meta + `"_id":"b2"}}`, document} {
		bulk = append(append(bulk, as(t, esapi.SMILE, line)...), 0xff)
	}
	ask("POST", "/_bulk?refresh=true", "application/smile", "", bulk, "items.#.index.status")
	ask("GET", doc+"b2", "", "", nil, "_source")
	ask("POST", "/_bulk", "application/cbor", "", as(t, esapi.CBOR, `{"index":{`+meta+`"_id":"b3"}}`), "status")
	if !strings.HasSuffix(told[0], `: 201 application/cbor "created"`) {
		t.Fatalf("the first document is not created: %s", told[0])
	}
	return told
}

// value is JSON in one form: servers escape the same text in several ways.
func value(t *testing.T, r gjson.Result) string {
	t.Helper()
	if !r.Exists() {
		return ""
	}
	var v any
	d := json.NewDecoder(strings.NewReader(r.Raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func as(t *testing.T, f esapi.Format, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	out := esapi.NewOutput(&b, esapi.OutputOptions{Format: f})
	if _, err := out.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
