package replicate

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// Whatever a client sends and a cluster answers: nothing panics, every action
// that is sent has an id, and the answer without what only the gateway asked for
// is still JSON.
func FuzzBulk(f *testing.F) {
	f.Add([]byte("{\"index\":{}}\n{\"a\":1}\n{\"update\":{\"_id\":\"1\"}}\n{\"doc\":{}}\n"),
		[]byte(`{"items":[{"index":{"_index":"i","_id":"x","_version":1,"result":"created"}},{"update":{"_index":"i","_id":"1","_version":2,"result":"updated","get":{"_source":{}}}}]}`))
	f.Add([]byte("{\"delete\":{\"_id\":1}}\n"), []byte(`{"items":[{}]}`))
	f.Add([]byte("{\"update\":{ }}\n{\"doc\":{},\"_source\":\"a\"}\n{\"create\":{ }}\n{}\n"), []byte(`{"items":{"a":{"get":1}}}`))
	f.Add([]byte("{\"index\":{\"_id\":\"1\"}}\r\n{}\r\n"), []byte(`[]`))
	f.Add([]byte("{\"update\":{\"_id\":\"1\"}}\n{\"doc\":{}}\n"),
		[]byte(`{"items":[{"update":{"_index":"i","_id":"1","_version":2,"result":"noop","get":{"found":true,"_source":{"a":1 /* }} */}},"status":200}}]}`))
	f.Add([]byte("{\"index\":{\"_id\":\"1\"}}\n{}\n{\"index\":{\"_id\":\"2\"}}\n{}\n\n{\"index\":{}}\n{}\n{\"index\":{}}\n{}\n{\"update\":{\"_id\":\"1\"}}\n{\"_source\":1}\n"),
		[]byte(`{"items":[{"index":{"_index":"i","_id":"1","_version":1,"result":"created","_seq_no":1}},{"index":{"_index":"i","_id":"2","_version":2,"result":"created","_seq_no":12}}]}`))
	master := cluster.New("m", estest.New(v717), cluster.Options{Version: v717})
	f.Cleanup(master.Close)
	r := &Replicator{cfg: Config{MaxRecord: 1000}.withDefaults(), ids: newIDMaker()}
	c := &capture{r: r, lease: &Lease{r: r, roles: roles{master: master}}}
	f.Fuzz(func(t *testing.T, body, answer []byte) {
		req := esapi.NewRequest("POST", "/i/_bulk", bytes.Clone(body))
		writes, err := c.readBulk(req, esapi.Endpoint{API: "bulk", Index: "i"}, new(room))
		if err != nil {
			return
		}
		again := esapi.NewRequest("POST", "/i/_bulk", bytes.Clone(req.Body))
		sent, err := c.readBulk(again, esapi.Endpoint{API: "bulk", Index: "i"}, new(room))
		if err != nil || len(sent) != len(writes) {
			t.Fatalf("%q became %q: %v", body, req.Body, err)
		}
		for i := range sent {
			if *sent[i].doc != *writes[i].doc {
				t.Fatalf("%q became %q", body, req.Body)
			}
		}
		_, shown, ok := c.bulkEffects(context.Background(), writes, answer, v56, new(desk))
		if json.Valid(answer) && !json.Valid(shown) {
			t.Fatalf("%q became %q (%v)", answer, shown, ok)
		}
		checkAlike(t, c, string(body), string(answer))
		if !esapi.ValidJSON(answer) && !bytes.Equal(answer, shown) {
			t.Fatalf("%q, which nobody understands, became %q", answer, shown)
		}
	})
}

func FuzzUpdateAnswer(f *testing.F) {
	f.Add([]byte(`{"_id":"1","get":{"_source":{"a":1}}}`))
	f.Add([]byte(`{"get":{}}`))
	f.Add([]byte(`{"a":1,"get":{"_source":{}},"get":2}`))
	f.Add([]byte("{ \"a\" : \"x,\\\"\" ,\n \"get\" : 1 }"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if !json.Valid(answer) {
			return
		}
		c := esapi.NewCursor(answer)
		shown := without(answer, []span{readItem(&c, &write{doc: new(recordDoc)}, "", nil).get})
		if !json.Valid(shown) {
			t.Fatalf("%q became %q", answer, shown)
		}
	})
}

// A record comes back as it was, its source byte for byte.
func FuzzRecord(f *testing.F) {
	f.Add("books", "1", []byte("{ \"a\": 1.0,\n\"source\":2,\"<\":12345678901234567890 }"), int64(3))
	f.Add(`"`, "\x00\xff", []byte(`{"source":{"source":[]}}`), int64(-1))
	f.Fuzz(func(t *testing.T, index, id string, source []byte, version int64) {
		if !json.Valid(source) || len(source) == 0 {
			return
		}
		source = bytes.TrimSpace(source)
		in := &record{Kind: kindEffect, From: "a", Index: index, ID: id, Version: version, Source: source}
		out, err := decode(in.encode())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Source, source) || out.Version != version {
			t.Fatalf("%+v became %+v", in, out)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"v":1,"kind":"effect","source":{}}`))
	f.Add([]byte(`{"v":2}`))
	f.Add([]byte(`{"source":1,"v":1}`))
	f.Fuzz(func(t *testing.T, b []byte) { decode(b) })
}
