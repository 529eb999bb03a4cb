package catalogue

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Updates that change nothing, on 6.x: it does not tell the document's sequence
// number, so it is read.

const (
	noopsNote    = "updates that change nothing get a sequence number"
	numberedNote = "an update that changed nothing has got a sequence number"
)

// numberNoops are the rules that let the updates of a client have the sequence
// numbers of documents that they leave as they are.
var numberNoops = []Rule{
	onAPIs(translate.RequestHead, []string{"update"}, func(x *Exchange, _ *Node) error {
		if x.Asked.API == "update" {
			viaNoops(x)
		}
		return nil
	}),
	at(translate.BulkMeta, func(x *Exchange, n *Node) error {
		if n.Name() == "update" {
			viaNoops(x)
		}
		return nil
	}),
}

func viaNoops(x *Exchange) {
	if x.Cluster.Before(V(6, 7)) || x.Noted(noopsNote) != nil {
		return // 5.x counts by versions; a get of 6.0 to 6.6 tells no number
	}
	x.Note(noopsNote, true)
	x.ViaPerhaps(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		a, err := next.Send(ctx, r)
		if err != nil || a.Status >= 300 {
			return a, err
		}
		body, err := io.ReadAll(io.LimitReader(a.Body, maxHeld+1))
		if err != nil || len(body) > maxHeld || !bytes.Contains(body, []byte(`"noop"`)) {
			a.Body = &unread{io.MultiReader(bytes.NewReader(body), failing{a.Body, err}), a.Body}
			return a, nil
		}
		_ = a.Body.Close()
		if body, err = withNoops(ctx, x, r, body, next); err != nil {
			return nil, err
		}
		out := esapi.NewResponse(a.Status, body)
		for k, v := range a.Header {
			if k != "Content-Length" {
				out.Header[k] = v
			}
		}
		return out, nil
	})
}

// An unread is a body of which the beginning has been read already.
type unread struct {
	io.Reader
	io.Closer
}

// failing reads on, unless there was an error.
type failing struct {
	r   io.Reader
	err error
}

func (f failing) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return f.r.Read(p)
}

// A noop is an update that changed nothing.
type noop struct {
	result *Node
	item   int // of the bulk
}

// withNoops gives the updates in an answer that changed nothing the sequence
// numbers of their documents, where these still have the version that the
// answer tells.
func withNoops(ctx context.Context, x *Exchange, r *esapi.Request, body []byte, next esapi.Sender) ([]byte, error) {
	type doc struct {
		Index   string `json:"_index"`
		Type    string `json:"_type"`
		ID      string `json:"_id"`
		Routing string `json:"routing,omitempty"`
		Source  bool   `json:"_source"`
	}
	var docs []doc
	var noops []noop
	note := func(result gjson.Result, item int, index, routing string) {
		if result.Get("result").String() != "noop" {
			return
		}
		if index == "" {
			index = result.Get("_index").String()
		}
		noops = append(noops, noop{translate.NewNode(result.Raw), item})
		docs = append(docs, doc{Index: index, Type: result.Get("_type").String(), ID: result.Get("_id").String(), Routing: routing})
	}
	answer := gjson.ParseBytes(body)
	items := answer.Get("items").Array()
	if x.Asked.API == "bulk" {
		rest := r.Body
		for i, item := range items {
			var head []byte
			head, _, rest = cutItem(rest)
			gjson.ParseBytes(head).ForEach(func(_, meta gjson.Result) bool {
				index := meta.Get("_index").String()
				routing := orElse(orElse(meta.Get("routing").String(), meta.Get("_routing").String()), r.Params.Get("routing"))
				note(item.Get("update"), i, orElse(index, x.Endpoint.Index), routing)
				return false
			})
		}
		if len(bytes.TrimSpace(rest)) > 0 {
			return body, nil // lines and items do not go together
		}
	} else {
		note(answer, 0, x.Endpoint.Index, r.Params.Get("routing"))
	}
	if len(noops) == 0 {
		return body, nil
	}
	ask, err := json.Marshal(map[string]any{"docs": docs})
	if err != nil {
		return nil, err
	}
	a, found, err := sendWhole(ctx, esapi.NewRequest(http.MethodPost, "/_mget", ask), next)
	if err != nil || a.Status >= 300 {
		return body, nil // the update has been answered: it stays so, without the numbers
	}
	read := gjson.GetBytes(found, "docs").Array()
	if len(read) != len(noops) {
		return body, nil
	}
	changed := map[int]string{}
	for i, u := range noops {
		seqNo, term := read[i].Get("_seq_no"), read[i].Get("_primary_term")
		if !seqNo.Exists() || !term.Exists() || read[i].Get("_version").Raw != u.result.Get("_version").Raw {
			continue
		}
		u.result.InsertAfter("_shards", "_seq_no", seqNo.Raw)
		u.result.InsertAfter("_seq_no", "_primary_term", term.Raw)
		x.Note(numberedNote, true)
		if x.Asked.API != "bulk" {
			return []byte(u.result.Raw()), nil
		}
		changed[u.item] = `{"update":` + u.result.Raw() + `}`
	}
	if len(changed) == 0 {
		return body, nil
	}
	var list strings.Builder
	for i, item := range items {
		if i > 0 {
			list.WriteByte(',')
		}
		list.WriteString(orElse(changed[i], item.Raw))
	}
	whole := translate.NewNode(answer.Raw)
	whole.Set("items", "["+list.String()+"]")
	return []byte(whole.Raw()), nil
}
