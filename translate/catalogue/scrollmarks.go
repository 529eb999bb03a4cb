package catalogue

import (
	"bytes"
	"context"
	"strings"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Scrolls with a size of 0, which newer versions do not open: the cluster is asked
// for pages of one hit, which the client does not see. The id that the client
// gets says so, as nothing else about a scroll comes back with it.

// emptyScrollMark stands in front of the id of such a scroll. Neither JSON nor a
// URL escapes it, and base64 has no point.
const emptyScrollMark = "esperanto-empty."

// openEmptyScroll opens a scroll whose pages are empty.
func openEmptyScroll(x *Exchange) {
	if x.Noted(emptyScrollMark) == nil {
		x.Note(emptyScrollMark, true)
		x.Via(emptyPage)
	}
}

// emptyPage takes the hits out of a page, and marks the scroll's id.
func emptyPage(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	a, err := next.Send(ctx, r)
	if err != nil || a.Status >= 300 {
		return a, err
	}
	body, err := readAll(a)
	if err != nil {
		return nil, err
	}
	page := translate.NewNode(string(body))
	if id := page.Get("_scroll_id").String(); id != "" {
		page.SetString("_scroll_id", emptyScrollMark+id)
	}
	edit(page, "hits", func(hits *Node) {
		hits.Set("hits", "[]")
		hits.Set("max_score", "0.0")
	})
	return withBody(a, []byte(page.Raw())), nil
}

// knowEmptyScroll takes the mark out of the ids of a request.
func knowEmptyScroll(x *Exchange, _ *Node) error {
	if !isScroll(x) {
		return nil
	}
	id := x.Params.Get("scroll_id")
	if !strings.Contains(id+x.Endpoint.ScrollID, emptyScrollMark) && !bytes.Contains(x.RequestBody, []byte(emptyScrollMark)) {
		return nil
	}
	if strings.Contains(id, emptyScrollMark) {
		x.Params.Set("scroll_id", strings.ReplaceAll(id, emptyScrollMark, ""))
	}
	x.Endpoint.ScrollID = strings.ReplaceAll(x.Endpoint.ScrollID, emptyScrollMark, "")
	x.RequestBody = bytes.ReplaceAll(x.RequestBody, []byte(emptyScrollMark), nil)
	x.Edited()
	if x.Asked.API == "scroll" {
		openEmptyScroll(x)
	}
	return nil
}
