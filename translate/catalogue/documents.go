package catalogue

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Single documents and the results of writes.

func init() {
	translate.Register(
		&Change{
			ID: "DOC-01", Name: "CreatedWasRemovedFromWriteResults", Since: V(6, 0),
			Doc: `An index request's answer says what happened in "result" ("created", "updated"); the boolean "created" is gone, "_seq_no" and "_primary_term" are new.`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.WriteResult, func(x *Exchange, n *Node) error {
				op := operation(x, n)
				if n.Has("result") && (op == "index" || op == "create") {
					n.Set("created", jsonBool(n.Get("result").String() == "created"))
				}
				dropSeqNo(n)
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "_seq_no and _primary_term are made from the document's version", Response: []Rule{
				at(translate.WriteResult, func(x *Exchange, n *Node) error {
					n.Drop("created")
					isNoop := n.Get("result").String() == "noop"
					if n.Has("result") && !(isNoop && x.Client.Before(V(7, 0))) { // DOC-19
						makeSeqNo(n)
					}
					return nil
				})}},
		},
		&Change{
			ID: "DOC-02", Name: "FoundWasRemovedFromDeleteResults", Since: V(6, 0),
			Doc: `A delete's answer says "deleted" or "not_found" in "result"; the boolean "found" is gone.`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.WriteResult, func(x *Exchange, n *Node) error {
				if n.Has("result") && operation(x, n) == "delete" {
					// 5.x prints it first, alone, and behind the status in a bulk.
					n.InsertAfter("", "found", jsonBool(n.Get("result").String() == "deleted"))
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.WriteResult, func(x *Exchange, n *Node) error {
				if n.Has("result") && operation(x, n) == "delete" {
					n.Drop("found")
				}
				return nil
			})}},
		},
		&Change{
			ID: "DOC-03", Name: "SeqNoAppearedInDocuments", Since: V(6, 7),
			Doc: `A get answers with "_seq_no" and "_primary_term" for optimistic concurrency control.`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{
				at(translate.Doc, func(_ *Exchange, n *Node) error {
					dropSeqNo(n)
					return nil
				}),
				at(translate.WriteResult, inUpdatedDocument(func(_, doc *Node) { dropSeqNo(doc) })),
			}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "_seq_no and _primary_term are made from the document's version", Response: []Rule{
				at(translate.Doc, func(x *Exchange, n *Node) error {
					if n.Get("found").Bool() && x.Asked.API != "termvectors" && x.Asked.API != "mtermvectors" {
						makeSeqNo(n)
					}
					return nil
				}),
				at(translate.WriteResult, inUpdatedDocument(func(result, doc *Node) {
					if v := result.Get("_version"); v.Exists() {
						doc.InsertAfter("", "_seq_no", seqNoOf(v))
						doc.InsertAfter("_seq_no", "_primary_term", "1")
					}
				})),
			}},
		},
		&Change{
			ID: "DOC-14", Name: "UnknownKeysOfUpdatesBecameErrors", Since: V(7, 0),
			Doc: "The body of an update must not have keys that are unknown; they were ignored.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.UpdateBody, func(_ *Exchange, n *Node) error {
				n.DropIf(func(key string) bool { return !slices.Contains(updateKeys, key) })
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.UpdateBody, func(_ *Exchange, n *Node) error {
				for _, k := range n.Keys() {
					if !slices.Contains(updateKeys, k) {
						return &esapi.Error{Status: http.StatusBadRequest, Type: "x_content_parse_exception",
							Reason: "[1:2] [UpdateRequest] unknown field [" + k + "]"}
					}
				}
				return nil
			})}},
		},
		&Change{
			ID: "DOC-19", Name: "NoopsGotASequenceNumber", Since: V(7, 0),
			Doc: `An update that changes nothing answers with "_seq_no" and "_primary_term", too.`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.WriteResult, func(_ *Exchange, n *Node) error {
				if n.Get("result").String() == "noop" {
					dropSeqNo(n)
				}
				return nil
			})}},
			// One made from the version would be wrong on 6.x, which compares real
			// ones: clients take a missing one for "not known".
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "_seq_no and _primary_term of an update that changed nothing, on 6.0 to 6.6, and where the document is changed at the same moment",
				Request: numberNoops, Response: []Rule{at(translate.AnswerHead, func(x *Exchange, _ *Node) error {
					if x.Noted(numberedNote) != nil {
						x.Edited()
					}
					return nil
				})}},
		},
		&Change{
			ID: "DOC-20", Name: "DeletesNoLongerCreateTheIndex", Since: V(6, 0),
			Doc: "A delete in an index that does not exist answers index_not_found_exception; it created the index and answered not_found.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the index is not created", Response: []Rule{onAPIs(translate.AnswerHead, []string{"delete"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API != "delete" || x.Status != http.StatusNotFound {
					return nil
				}
				if bytes.Contains(x.AnswerBody(), []byte(`"index_not_found_exception"`)) {
					x.Replacement = []byte(`{"found":false,"_index":` + translate.Quote(x.Asked.Index) + `,"_type":` + translate.Quote(x.Asked.Type) +
						`,"_id":` + translate.Quote(x.Asked.ID) + `,"_version":1,"result":"not_found","_shards":{"total":2,"successful":1,"failed":0}}`)
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.RequestHead, func(x *Exchange, _ *Node) error {
				// 6.0 and later create it, too, if the version is external.
				if x.Asked.API != "delete" || strings.HasPrefix(x.Params.Get("version_type"), "external") {
					return nil
				}
				_, exists, err := knownType(x, x.Asked.Index)
				if err != nil || exists || x.Facts == nil || strings.ContainsAny(x.Asked.Index, "<*,") {
					return err
				}
				x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
					return deleteIfThere(ctx, x, r, next)
				})
				return nil
			})}},
		},
		&Change{
			ID: "DOC-06", Name: "SourceIncludeBecamePlural", Since: V(5, 5), Removed: V(7, 0),
			Doc: "The parameters _source_include and _source_exclude are called _source_includes and _source_excludes.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				renameParam(nil, "_source_include", "_source_includes"),
				renameParam(nil, "_source_exclude", "_source_excludes"),
			}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				renameParam(nil, "_source_includes", "_source_include"),
				renameParam(nil, "_source_excludes", "_source_exclude"),
			}},
		},
		&Change{
			ID: "DOC-22", Name: "MissingSourceGotABody", Since: V(6, 0),
			Doc: "GET of the _source of a missing document answers 404 with an error; it had no body.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{onAPIs(translate.AnswerHead, []string{"get_source"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API == "get_source" && x.Status == 404 {
					x.Replacement = []byte{}
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{onAPIs(translate.AnswerHead, []string{"get_source"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API == "get_source" && x.Status == 404 && x.AnswerHeader.Get("Content-Length") == "0" {
					doc := "[" + x.Asked.Index + "]/[" + x.Asked.ID + "]"
					if x.Client.Before(V(8, 0)) {
						doc = "[" + x.Asked.Index + "]/[" + shownType(x, x.Asked.Index) + "]/[" + x.Asked.ID + "]"
					}
					x.Replacement = []byte(errorBody(404, "resource_not_found_exception", "Document not found "+doc))
				}
				return nil
			})}},
		},
	)
}

// updateKeys are those of the body of an update.
var updateKeys = []string{"script", "doc", "doc_as_upsert", "upsert", "scripted_upsert", "detect_noop", "_source", "fields", "if_seq_no", "if_primary_term"}

// inUpdatedDocument runs f on the document that an update returns if it is asked
// for the source.
func inUpdatedDocument(f func(result, doc *Node)) func(*Exchange, *Node) error {
	return func(_ *Exchange, n *Node) error {
		get := n.Get("get")
		if !get.IsObject() {
			return nil
		}
		doc := translate.NewNode(get.Raw)
		f(n, doc)
		if doc.Changed() {
			n.Set("get", doc.Raw())
		}
		return nil
	}
}

// operation is what a write result is about: "index", "create", "update" or
// "delete".
func operation(x *Exchange, n *Node) string {
	if n.Name() != "" {
		return n.Name()
	}
	return x.Asked.API
}

func jsonBool(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// deleteIfThere sends a delete if its index is there. What is known of an index
// that is missing may be older than the write that made it, so the cluster is
// asked.
func deleteIfThere(ctx context.Context, x *Exchange, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	head, _, err := sendWhole(ctx, esapi.NewRequest(http.MethodHead, "/"+url.PathEscape(x.Asked.Index), nil), next)
	switch {
	case err != nil:
		return nil, err
	case head.Status == http.StatusNotFound:
		return nil, esapi.IndexNotFound(x.Asked.Index, x.Client)
	}
	return next.Send(ctx, r)
}

func dropSeqNo(n *Node) {
	n.Drop("_seq_no")
	n.Drop("_primary_term")
}

// makeSeqNo gives a node the sequence number that stands for its version on a
// cluster that has none to compare with (VER-04).
func makeSeqNo(n *Node) {
	v := n.Get("_version")
	if !v.Exists() {
		return
	}
	raw := seqNoOf(v)
	after := "_version"
	if n.Has("_shards") {
		after = "_shards"
	}
	n.InsertAfter(after, "_seq_no", raw)
	n.InsertAfter("_seq_no", "_primary_term", "1")
}

// seqNoOf is the sequence number that stands for a version: as those of
// Elasticsearch, the first is 0.
func seqNoOf(version gjson.Result) string { return strconv.FormatInt(max(version.Int()-1, 0), 10) }

// versionOf is the version that a sequence number stands for. What is none the
// cluster refuses.
func versionOf(seqNo string) string {
	n, err := strconv.ParseInt(seqNo, 10, 64)
	if err != nil || n < 0 || n == math.MaxInt64 {
		return seqNo
	}
	return strconv.FormatInt(n+1, 10)
}

// errorBody is Elasticsearch's envelope of an error.
func errorBody(status int, kind, reason string) string {
	cause := `{"type":` + translate.Quote(kind) + `,"reason":` + translate.Quote(reason) + `}`
	return `{"error":{"root_cause":[` + cause + `],` + cause[1:len(cause)-1] + `},"status":` + itoa(status) + `}`
}
