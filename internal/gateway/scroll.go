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

// scrollIDs are the clusters whose scroll ids clients may hold. The id that a
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

// isScroll reports whether an API takes ids of scrolls.
func isScroll(api string) bool { return api == "scroll" || api == "clear_scroll" }

// startsScroll reports whether the answer to a request has the id of a scroll.
func startsScroll(api string, p esapi.Params) bool {
	switch api {
	case "scroll":
		return true
	case "search", "search_template":
		return p.Has("scroll")
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

// wrap puts the prefix into the id of an answer. Elasticsearch writes
// _scroll_id first in the answer, so that only its beginning is looked at; an
// answer of another form (YAML, or filtered) goes through as it is.
func (s scrollIDs) wrap(res *esapi.Response, from *cluster.Cluster) {
	if res.Status >= 300 {
		return
	}
	body := bufio.NewReader(res.Body)
	head, _ := body.Peek(scrollHead)
	at := scrollIDAt(head)
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

// scrollIDAt finds where the value of _scroll_id begins, -1 if it is not the
// first key.
func scrollIDAt(head []byte) int {
	at := 0
	for _, token := range []string{"{", `"_scroll_id"`, ":", `"`} {
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
