package gateway

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"strconv"
	"strings"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
)

// scrollIDs are the clusters whose ids of scrolls and points in time clients may
// hold. The id that a
// client gets begins with the cluster that it came from, so that a scroll that
// was open when the master was moved goes on where it began:
//
//	esperanto.c291cmNlLWVzNQ.DnF1ZXJ5VGhlbkZldGNo...
//
// The prefix consists of characters that neither JSON nor a URL escapes, and
// ends with one that base64 does not have; so it is found and taken out
// wherever an id may stand. Ids without it go to the master.
type scrollIDs []*cluster.Cluster

const scrollMark = "esperanto."

func scrollPrefix(c *cluster.Cluster) string {
	return scrollMark + base64.RawURLEncoding.EncodeToString([]byte(c.Name())) + "."
}

// carriesIDs reports whether a request may have the id of a scroll or of a
// point in time. A search on a point in time names no index.
func carriesIDs(e esapi.Endpoint) bool {
	switch e.API {
	case "scroll", "clear_scroll", "close_point_in_time":
		return true
	case "search", "msearch":
		return e.Index == ""
	}
	return false
}

// givesID reports whether the answer to a request may have one.
func givesID(e esapi.Endpoint, p esapi.Params) bool {
	switch e.API {
	case "scroll", "open_point_in_time":
		return true
	case "search", "search_template":
		return p.Has("scroll") || e.API == "search" && e.Index == ""
	}
	return false
}

// unwrap takes the prefixes out of a request and returns the cluster that its
// ids came from, nil if none says. Ids of several clusters in one request are
// taken as those of the last.
func (s scrollIDs) unwrap(r *esapi.Request) *cluster.Cluster {
	var from *cluster.Cluster
	for _, c := range s {
		prefix := scrollPrefix(c)
		if strings.Contains(r.Path, prefix) {
			r.Path, from = strings.ReplaceAll(r.Path, prefix, ""), c
		}
		if id := r.Params.Get("scroll_id"); strings.Contains(id, prefix) {
			r.Params.Set("scroll_id", strings.ReplaceAll(id, prefix, ""))
			from = c
		}
		if bytes.Contains(r.Body, []byte(prefix)) {
			r.Body, from = bytes.ReplaceAll(r.Body, []byte(prefix), nil), c
		}
	}
	return from
}

// wrap puts the prefix into the id of an answer. Elasticsearch writes it, as
// _scroll_id, pit_id or id, first in the answer, so that only its beginning is looked at; an
// answer of another form (YAML, or filtered) goes through as it is.
func (s scrollIDs) wrap(res *esapi.Response, api string, from *cluster.Cluster) {
	if res.Status >= 300 {
		return
	}
	body := bufio.NewReader(res.Body)
	head, _ := body.Peek(scrollHead)
	at := idAt(head, api)
	if at < 0 {
		res.Body = &joined{body, res.Body}
		return
	}
	head = append(bytes.Clone(head[:at]), scrollPrefix(from)...)
	_, _ = body.Discard(at)
	if n, err := strconv.ParseInt(res.Header.Get("Content-Length"), 10, 64); err == nil {
		res.Header.Set("Content-Length", strconv.FormatInt(n+int64(len(head)-at), 10))
	}
	res.Body = &joined{io.MultiReader(bytes.NewReader(head), body), res.Body}
}

// scrollHead is how much of an answer is looked at, in bytes: more than an
// indented beginning has.
const scrollHead = 64

// idAt finds where the value of the id begins in an answer of an API, -1 if it is
// not the first key.
func idAt(head []byte, api string) int {
	keys := []string{`"_scroll_id"`, `"pit_id"`}
	if api == "open_point_in_time" {
		keys = []string{`"id"`}
	}
	for _, key := range keys {
		if at := behind(head, "{", key, ":", `"`); at >= 0 {
			return at
		}
	}
	return -1
}

// behind is where the text goes on behind some tokens, -1 if it does not begin
// with them.
func behind(head []byte, tokens ...string) int {
	at := 0
	for _, token := range tokens {
		for at < len(head) && strings.IndexByte(" \t\r\n", head[at]) >= 0 {
			at++
		}
		if !bytes.HasPrefix(head[at:], []byte(token)) {
			return -1
		}
		at += len(token)
	}
	return at
}

// joined reads from one and closes another.
type joined struct {
	io.Reader
	io.Closer
}
