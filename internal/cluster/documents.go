package cluster

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A DocID says which document.
type DocID struct {
	Index   string
	Type    string // the mapping type if it is known; a cluster without types ignores it
	ID      string
	Routing string
	Parent  string // 5.x: the parent in an index with _parent
}

// A Doc is a document with its version, or its absence.
type Doc struct {
	DocID
	Found   bool
	Version int64
	Source  []byte // as the cluster keeps it; nil if it was not asked for

	// Unreadable says why MGet could not read the document although the cluster
	// is well: its index is closed, or it is not JSON. Nothing else is known of
	// it then.
	Unreadable string
	Closed     bool // its index is

	// Again lets WriteExternal overwrite the same version (external_gte).
	Again bool
}

// A Result is what became of one document of WriteExternal.
type Result struct {
	Status int    // as of a single request
	Type   string // of the error, "" if there was none
	Reason string
}

// OK reports whether the document was written.
func (r Result) OK() bool { return r.Status < 300 || (r.Status == http.StatusNotFound && r.Type == "") }

// MGet reads documents as they are now, also those that no search sees yet, in
// the order of ids. Without source only versions are read. A document whose
// index is missing is not found, and neither is one whose index asks for a
// routing that id does not have. The error is about the whole request.
func (c *Cluster) MGet(ctx context.Context, ids []DocID, source bool) ([]Doc, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	v, err := c.Version(ctx)
	if err != nil {
		return nil, err
	}
	body := []byte(`{"docs":[`)
	for i, id := range ids {
		if i > 0 {
			body = append(body, ',')
		}
		typ, err := c.typeFor(ctx, v, id)
		if err != nil {
			return nil, err
		}
		body = append(body, `{"_index":`...)
		body = appendString(body, c.There(id.Index))
		if typ != "" {
			body = append(body, `,"_type":`...)
			body = appendString(body, typ)
		}
		body = append(body, `,"_id":`...)
		body = appendString(body, id.ID)
		body = appendRouting(body, v, id)
		body = append(body, '}')
	}
	body = append(body, `]}`...)
	target := "/_mget?realtime=true"
	if !source {
		target += "&_source=false"
	}
	status, answer, err := c.Do(ctx, http.MethodPost, target, body)
	if err != nil {
		return nil, err
	}
	if err := c.Failed(status, answer); err != nil {
		return nil, err
	}
	if esapi.ValidJSON(answer) {
		return c.readDocs(ids, answer)
	}
	// Elasticsearch takes documents with comments, and shows them as they came.
	switch begins := bytes.HasPrefix(answer, []byte(`{"docs":[`)); {
	case !source || !begins:
		return nil, fmt.Errorf("%s: _mget: the answer is not JSON", c.name)
	case len(ids) == 1:
		return []Doc{{DocID: ids[0], Unreadable: c.name + ": the document is not JSON"}}, nil
	}
	docs := make([]Doc, 0, len(ids))
	for i := range ids {
		one, err := c.MGet(ctx, ids[i:i+1], true)
		if err != nil {
			return nil, err
		}
		docs = append(docs, one...)
	}
	return docs, nil
}

func (c *Cluster) readDocs(ids []DocID, answer []byte) ([]Doc, error) {
	docs := make([]Doc, 0, len(ids))
	var err error
	gjson.GetBytes(answer, "docs").ForEach(func(_, d gjson.Result) bool {
		if len(docs) == len(ids) {
			err = fmt.Errorf("%s: _mget: more documents than asked for", c.name)
			return false
		}
		want := ids[len(docs)]
		if id := d.Get("_id"); id.String() != want.ID {
			err = fmt.Errorf("%s: _mget: document %d is %q, not %q", c.name, len(docs), id, want.ID)
			return false
		}
		if e := d.Get("error"); e.Exists() {
			switch typ, text := reason(e); typ {
			case "index_not_found_exception", "type_missing_exception":
			case "routing_missing_exception": // nothing can have been written without it
			case "index_closed_exception":
				docs = append(docs, Doc{DocID: want, Unreadable: c.name + ": " + typ + ": " + text, Closed: true})
				return true
			default:
				err = fmt.Errorf("%s: _mget of %s/%s: %s: %s", c.name, want.Index, want.ID, typ, text)
				return false
			}
		}
		doc := Doc{DocID: want, Found: d.Get("found").Bool()}
		if doc.Found {
			doc.Version = d.Get("_version").Int()
			doc.Source = []byte(d.Get("_source").Raw)
			if index := d.Get("_index").String(); index != "" && c.names == nil {
				doc.Index = index
			}
			if r := d.Get("_routing"); r.Exists() || d.Get("_source").Exists() {
				doc.Routing = r.String() // it may have another one than it was asked for with
			}
			if p := d.Get("_parent"); p.Exists() {
				doc.Parent = p.String()
			}
			if t := d.Get("_type").String(); t != "" && t != "_doc" {
				doc.Type = t
			}
		}
		docs = append(docs, doc)
		return true
	})
	if err == nil && len(docs) != len(ids) {
		err = fmt.Errorf("%s: _mget: %d documents asked for, %d answered", c.name, len(ids), len(docs))
	}
	if err != nil {
		return nil, err
	}
	return docs, nil
}

// WriteExternal makes the cluster's documents what docs say, each under its own
// version (version_type external): a version that is not higher than the
// cluster's gets the status 409. They go in one bulk, but for those whose source
// has line ends: a bulk could not carry it byte for byte. Results are in the
// order of docs. The error is about the whole; what was written is not known
// then.
func (c *Cluster) WriteExternal(ctx context.Context, docs []Doc) ([]Result, error) {
	v, err := c.Version(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(docs, hasLineEnds) {
		return c.writeBulk(ctx, v, docs)
	}
	var bulk []Doc
	var at []int // where the results of bulk belong
	results := make([]Result, len(docs))
	for i := range docs {
		if !hasLineEnds(docs[i]) {
			bulk, at = append(bulk, docs[i]), append(at, i)
		} else if results[i], err = c.writeOne(ctx, v, &docs[i]); err != nil {
			return nil, err
		}
	}
	written, err := c.writeBulk(ctx, v, bulk)
	if err != nil {
		return nil, err
	}
	for i, r := range written {
		results[at[i]] = r
	}
	return results, nil
}

func hasLineEnds(d Doc) bool { return bytes.IndexByte(d.Source, '\n') >= 0 }

// writeOne writes a document that exists, in a request of its own.
func (c *Cluster) writeOne(ctx context.Context, v esapi.Version, d *Doc) (Result, error) {
	typ, err := c.typeFor(ctx, v, d.DocID)
	if err != nil {
		return Result{}, err
	}
	if typ == "" {
		typ = "_doc"
	}
	var params esapi.Params
	params.Set("version", strconv.FormatInt(d.Version, 10))
	params.Set("version_type", d.versionType())
	if v.Major == 5 && d.Parent != "" {
		params.Set("parent", d.Parent)
	}
	if d.Routing != "" {
		params.Set("routing", d.Routing)
	}
	if v.AtLeast(noPipeline) {
		params.Set("pipeline", "_none")
	}
	status, answer, err := c.Do(ctx, http.MethodPut, Path(d.Index, typ, d.ID)+"?"+params.Encode(), d.Source)
	if err != nil {
		return Result{}, err
	}
	if status >= 300 && !gjson.ValidBytes(answer) {
		return Result{}, c.Failed(status, answer)
	}
	r := Result{Status: status}
	if e := gjson.GetBytes(answer, "error"); e.Exists() {
		r.Type, r.Reason = reason(e)
	}
	return r, nil
}

// noPipeline is the first version in which a write can say that the index's
// default pipeline is not for it. What a pipeline does was done at the master.
var noPipeline = esapi.V(6, 5)

func (c *Cluster) writeBulk(ctx context.Context, v esapi.Version, docs []Doc) ([]Result, error) {
	if len(docs) == 0 {
		return nil, nil
	}
	size := 0
	for i := range docs {
		size += len(docs[i].Source) + len(docs[i].ID) + len(docs[i].Index) + 100
	}
	body := make([]byte, 0, size)
	var typ string
	for i := range docs {
		if i == 0 || docs[i].Index != docs[i-1].Index || docs[i].Type != docs[i-1].Type {
			var err error
			if typ, err = c.typeFor(ctx, v, docs[i].DocID); err != nil {
				return nil, err
			}
		}
		body = appendAction(body, v, c.There(docs[i].Index), &docs[i], typ)
	}
	target := "/_bulk"
	if v.AtLeast(noPipeline) {
		target += "?pipeline=_none"
	}
	status, answer, err := c.Do(ctx, http.MethodPost, target, body)
	if err != nil {
		return nil, err
	}
	if err := c.Failed(status, answer); err != nil {
		return nil, err
	}
	return c.readResults(docs, answer)
}

// readResults reads what a bulk says of documents, in one pass.
func (c *Cluster) readResults(docs []Doc, answer []byte) ([]Result, error) {
	results := make([]Result, 0, len(docs))
	var strange error
	r := esapi.NewCursor(answer)
	r.Open('{')
	for key, ok := r.Key(); ok; key, ok = r.Key() {
		if string(key) != "items" || len(results) > 0 || !r.Open('[') {
			r.Skip()
			continue
		}
		for r.Item() {
			result, id := readResult(&r)
			if n := len(results); n == len(docs) || !isText(id, docs[n].ID) {
				if strange == nil {
					strange = fmt.Errorf("%s: _bulk: item %d is of document %s", c.name, n, clip(string(id), 300))
				}
				continue
			}
			results = append(results, result)
		}
	}
	switch {
	case !r.End():
		return nil, fmt.Errorf("%s: _bulk: the answer is not JSON", c.name)
	case strange != nil:
		return nil, strange
	case len(results) != len(docs):
		return nil, fmt.Errorf("%s: _bulk: %d documents sent, %d answered", c.name, len(docs), len(results))
	}
	return results, nil
}

// readResult reads an item of a bulk's answer: {"index":{...}}. id is the document's as it
// stands there.
func readResult(r *esapi.Cursor) (result Result, id []byte) {
	if !r.Open('{') {
		r.Skip()
		return result, nil
	}
	for _, ok := r.Key(); ok; _, ok = r.Key() {
		if !r.Open('{') {
			r.Skip()
			continue
		}
		for key, ok := r.Key(); ok; key, ok = r.Key() {
			switch string(key) {
			case "_id":
				id = r.Skip()
			case "status":
				status, _ := r.Int()
				result.Status = int(status)
			case "error":
				result.Type, result.Reason = reason(gjson.ParseBytes(r.Skip()))
			default:
				r.Skip()
			}
		}
	}
	return result, id
}

// isText reports whether a JSON string means a text.
func isText(raw []byte, text string) bool {
	if n := len(text); len(raw) == n+2 && raw[0] == '"' && string(raw[1:n+1]) == text && strings.IndexByte(text, '\\') < 0 {
		return true
	}
	return len(raw) > 0 && gjson.ParseBytes(raw).String() == text
}

// appendAction appends the lines of one document.
func appendAction(b []byte, v esapi.Version, index string, d *Doc, typ string) []byte {
	if d.Found {
		b = append(b, `{"index":{"_index":`...)
	} else {
		b = append(b, `{"delete":{"_index":`...)
	}
	b = appendString(b, index)
	if typ != "" {
		b = append(b, `,"_type":`...)
		b = appendString(b, typ)
	}
	b = append(b, `,"_id":`...)
	b = appendString(b, d.ID)
	b = appendRouting(b, v, d.DocID)
	b = append(b, `,"version":`...)
	b = strconv.AppendInt(b, d.Version, 10)
	b = append(b, `,"version_type":"`...)
	b = append(b, d.versionType()...)
	b = append(b, "\"}}\n"...)
	if d.Found {
		b = append(append(b, d.Source...), '\n')
	}
	return b
}

func (d *Doc) versionType() string {
	if d.Again {
		return "external_gte"
	}
	return "external"
}

func appendRouting(b []byte, v esapi.Version, id DocID) []byte {
	if v.Major == 5 && id.Parent != "" {
		b = append(b, `,"parent":`...)
		b = appendString(b, id.Parent)
		if id.Routing == id.Parent {
			return b // it follows from the parent
		}
	}
	if id.Routing != "" {
		b = append(b, `,"routing":`...)
		b = appendString(b, id.Routing)
	}
	return b
}

// appendString appends s as a JSON string. Bytes that are no UTF-8 become the
// replacement character, as in Elasticsearch.
func appendString(b []byte, s string) []byte { return gjson.AppendJSONString(b, s) }

// typeFor is the type that a document's lines must name, "" where there are no
// types.
func (c *Cluster) typeFor(ctx context.Context, v esapi.Version, id DocID) (string, error) {
	if v.Major >= 7 {
		return "", nil
	}
	index, _, err := c.facts.Lookup(ctx, id.Index)
	if err != nil {
		return "", err
	}
	switch {
	case id.Type != "" && (slices.Contains(index.Types, id.Type) || (v.Major == 5 && len(index.Types) > 1)):
		return id.Type, nil
	case len(index.Types) > 0:
		return index.Types[0], nil
	case id.Type != "":
		return id.Type, nil
	case index.Type != "":
		return index.Type, nil
	case v.Before(esapi.V(6, 2)):
		return "doc", nil
	}
	return "_doc", nil
}
