package catalogue

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Repeated keys: 5.x takes the last of them. Looking for them in every body would
// cost each request of a 5.x client; so a request is sent again, with each key
// once, when the cluster has said that one was repeated. It says so while it
// reads the body, before anything is changed.

func init() {
	translate.Register(&Change{
		ID: "HTTP-14", Name: "RepeatedKeysAreRefused", Since: V(6, 0),
		Doc: "A key that an object has twice is an error; in 5.x the last one counts.",
		OldClient: Direction{Fidelity: translate.Lossy, Loses: "in documents, the values before the last one, which 5.x indexes, too",
			Request: []Rule{at(translate.RequestEnd, func(x *Exchange, _ *Node) error {
				if len(x.RequestBody) > 0 {
					x.ViaPerhaps(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
						return sendWithoutRepetitions(ctx, x, r, next)
					})
				}
				return nil
			})},
			Response: []Rule{at(translate.AnswerHead, func(x *Exchange, _ *Node) error {
				if x.Noted(repeatedNote) != nil {
					x.Edited()
				}
				return nil
			})}},
		NewClient: nothing,
	})
}

// repeated is what all versions from 6.0 on say of a repeated key.
var repeated = []byte("Duplicate field '")

const repeatedNote = "keys were repeated"

func sendWithoutRepetitions(ctx context.Context, x *Exchange, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	a, err := next.Send(ctx, r)
	if err != nil {
		return nil, err
	}
	if a.Status < 400 && !strings.HasSuffix(r.Path, "/_bulk") {
		return a, nil
	}
	beginning, err := hold(a, maxHeld)
	switch {
	case err != nil:
		return nil, err
	case beginning == nil || !bytes.Contains(beginning, repeated):
		return a, nil
	case a.Status >= 400:
		again := *r
		if again.Body = withoutRepetitions(r.Body); bytes.Equal(again.Body, r.Body) {
			return a, nil
		}
		_ = a.Body.Close()
		x.Note(repeatedNote, true)
		return next.Send(ctx, &again)
	}
	return sendItemsAgain(ctx, x, r, a, beginning, next)
}

// hold reads the body of an answer that is an error, or of a bulk with errors,
// and puts it back. It gives nil for all others, and for what is longer.
func hold(a *esapi.Response, limit int) ([]byte, error) {
	head := make([]byte, 64)
	if a.Status >= 400 {
		head = head[:0]
	} else {
		n, err := io.ReadFull(a.Body, head)
		head = head[:n]
		if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
			return nil, err
		}
		if !bytes.Contains(head, []byte(`"errors":true`)) {
			putBack(a, head)
			return nil, nil
		}
	}
	rest, err := io.ReadAll(io.LimitReader(a.Body, int64(limit)))
	if err != nil {
		return nil, err
	}
	body := slices.Concat(head, rest)
	putBack(a, body)
	if len(rest) == limit {
		return nil, nil
	}
	return body, nil
}

func putBack(a *esapi.Response, read []byte) {
	a.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(read), a.Body), a.Body}
}

// sendItemsAgain sends the items of a bulk that had repeated keys once more, and
// puts what becomes of them in their places.
func sendItemsAgain(ctx context.Context, x *Exchange, r *esapi.Request, a *esapi.Response, body []byte, next esapi.Sender) (*esapi.Response, error) {
	answer := gjson.ParseBytes(body)
	var items []string
	var places []int
	answer.Get("items").ForEach(func(_, item gjson.Result) bool {
		if strings.Contains(errorOfItem(item).Raw, string(repeated)) {
			places = append(places, len(items))
		}
		items = append(items, item.Raw)
		return true
	})
	places = withoutOvertaken(places, r.Body)
	rest, from := r.Body, 0
	again := *r
	again.Body = nil
	for i := 0; len(rest) > 0 && from < len(places); i++ {
		head, source, after := cutItem(rest)
		rest = after
		if i == places[from] {
			again.Body = append(append(again.Body, withoutRepetitions(head)...), withoutRepetitions(source)...)
			if !bytes.HasSuffix(again.Body, []byte("\n")) {
				again.Body = append(again.Body, '\n')
			}
			from++
		}
	}
	if len(places) == 0 || from < len(places) {
		return a, nil
	}
	second, err := next.Send(ctx, &again)
	if err != nil {
		return nil, err
	}
	got, err := readAll(second)
	if err != nil {
		return nil, err
	}
	results := gjson.GetBytes(got, "items").Array()
	if second.Status >= 400 || len(results) != len(places) {
		return a, nil // what the first answer says of these items is still true
	}
	_ = a.Body.Close()
	x.Note(repeatedNote, true)
	for i, p := range places {
		items[p] = results[i].Raw
	}
	failed := false
	merged := []byte(`{"took":` + answer.Get("took").Raw)
	var list []byte
	for i, item := range items {
		if i > 0 {
			list = append(list, ',')
		}
		list = append(list, item...)
		failed = failed || errorOfItem(gjson.Parse(item)).Exists()
	}
	merged = append(append(append(merged, `,"errors":`+jsonBool(failed)+`,"items":[`...), list...), "]}"...)
	return esapi.NewResponse(second.Status, merged), nil
}

// errorOfItem is the error in the answer to an item of a bulk, if there is one.
func errorOfItem(item gjson.Result) (found gjson.Result) {
	item.ForEach(func(_, result gjson.Result) bool {
		found = result.Get("error")
		return false
	})
	return found
}

// withoutOvertaken leaves out the items behind which the bulk has another one,
// which is not to be sent again, for a document of the same id: it has been
// carried out, and counts.
func withoutOvertaken(places []int, body []byte) []int {
	var ids []string
	done := map[string]int{}
	for i := 0; len(body) > 0; i++ {
		head, _, rest := cutItem(body)
		ids = append(ids, idOfItem(head))
		if _, again := slices.BinarySearch(places, i); !again {
			done[ids[i]] = i
		}
		body = rest
	}
	return slices.DeleteFunc(places, func(p int) bool {
		return p < len(ids) && ids[p] != "" && done[ids[p]] > p
	})
}

// withoutRepetitions leaves the last of repeated keys in each object of a text of
// one or more JSON values. What is not JSON stays as it is.
func withoutRepetitions(text []byte) []byte {
	if esapi.ValidJSON(text) { // one value, over one line or several
		once := esapi.KeysOnce(text)
		if bytes.HasSuffix(text, []byte("\n")) {
			once = append(once, '\n')
		}
		return once
	}
	out := make([]byte, 0, len(text))
	for line := range bytes.Lines(text) {
		if esapi.ValidJSON(line) {
			line = withoutRepetitions(line)
		}
		out = append(out, line...)
	}
	return out
}
