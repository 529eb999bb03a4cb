package catalogue

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Optimistic concurrency control: by version up to 6.x, by sequence number from
// 6.6 on.

func init() {
	translate.Register(
		&Change{
			ID: "VER-01", Name: "ForcedVersionsWereRemoved", Since: V(6, 0),
			Doc: "version_type=force, which writes whatever version a document has, is gone.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "a forced version that is lower than the document's is a conflict (external_gte)", Request: []Rule{
				withParams(translate.RequestHead, func(x *Exchange, _ *Node) error {
					if x.Params.Get("version_type") == "force" && slices.Contains(conditionalAPIs, x.Asked.API) {
						x.Params.Set("version_type", "external_gte")
					}
					return nil
				}),
				at(translate.BulkMeta, func(_ *Exchange, n *Node) error {
					if key := forcedVersion(n); key != "" {
						n.SetString(key, "external_gte")
					}
					return nil
				}),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "VER-01", Name: "ForcedVersionsOfReadsWereRemoved", Since: V(6, 0),
			Doc: "version_type=force, which reads whatever version a document has, is gone.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				withParams(translate.RequestHead, func(x *Exchange, _ *Node) error {
					if x.Params.Get("version_type") == "force" && !slices.Contains(conditionalAPIs, x.Asked.API) {
						x.Params.Drop("version")
						x.Params.Drop("version_type")
					}
					return nil
				}),
				at(translate.MgetItem, func(_ *Exchange, n *Node) error {
					if key := forcedVersion(n); key != "" {
						n.Drop(key)
						n.Drop("version")
						n.Drop("_version")
					}
					return nil
				}),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "VER-02", Name: "InternalVersionsAreNoConditionAnymore", Since: V(6, 7), Removed: V(7, 0),
			Doc: "A write with version=n and internal versions is refused; the condition is if_seq_no and if_primary_term.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				withParams(translate.RequestHead, func(x *Exchange, _ *Node) error {
					version := x.Params.Get("version")
					if version == "" || !slices.Contains(conditionalAPIs, x.Asked.API) || !isInternal(x.Params.Get("version_type")) {
						return nil
					}
					if creates(x) && version != anyVersion && version != noVersion {
						return nil // the cluster says that the two do not go together
					}
					x.Params.Drop("version")
					x.Params.Drop("version_type")
					switch version {
					case anyVersion:
						return nil
					case noVersion:
						if x.Asked.API == "index" || x.Asked.API == "create" {
							x.Params.Set("op_type", "create")
							return nil
						}
					}
					x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
						return sendAtVersion(ctx, x, version, r, next)
					})
					return nil
				}),
				at(translate.BulkMeta, func(x *Exchange, n *Node) error {
					if v := n.Get("version"); v.Exists() && isInternal(n.Get("version_type").String()) {
						version := v.String()
						n.Drop("version")
						n.Drop("version_type")
						if version == anyVersion || version == noVersion && n.Name() == "create" {
							return nil
						}
						bulkItemsOf(x).add(x, n).version = version
					}
					return nil
				}),
			}},
			// if_seq_no of a newer client on a cluster that lacks it is VER-04;
			// a newer client sends no internal version.
			NewClient: nothing,
		},
		&Change{
			ID: "VER-04", Name: "SeqNoConditionsAppeared", Since: V(6, 6),
			Doc:       "if_seq_no and if_primary_term make a write conditional.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the numbers are made from the document's version", Request: []Rule{
				at(translate.RequestHead, func(x *Exchange, _ *Node) error {
					if !x.Params.Has("if_seq_no") {
						return nil
					}
					if x.Params.Get("if_primary_term") != "1" {
						answerInstead(x, http.StatusConflict, errorBody(409, conflictType, "["+x.Asked.ID+"]: version conflict, required primary term ["+
							x.Params.Get("if_primary_term")+"] but the document has [1]"))
						return nil
					}
					x.Params.Set("version", versionOf(x.Params.Get("if_seq_no")))
					x.Params.Drop("if_seq_no")
					x.Params.Drop("if_primary_term")
					return nil
				}),
				at(translate.BulkMeta, func(x *Exchange, n *Node) error {
					if !n.Has("if_seq_no") {
						return nil
					}
					if n.Get("if_primary_term").Raw != "1" {
						return x.Refuse("if_primary_term %s in a bulk", n.Get("if_primary_term").Raw)
					}
					n.Rename("if_seq_no", "version")
					n.Set("version", versionOf(n.Get("version").String()))
					n.Drop("if_primary_term")
					return nil
				}),
			}},
		},
		&Change{
			ID: "VER-05", Name: "SeqNoInHitsAppeared", Since: V(6, 7),
			Doc:       "seq_no_primary_term in a search shows the numbers of each hit.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact,
				Request: []Rule{
					at(translate.SearchBody, askForVersions),
					at(translate.InnerHits, askForVersions),
					at(translate.Aggregation("top_hits"), askForVersions),
					at(translate.RequestHead, func(x *Exchange, _ *Node) error {
						if x.Params.Bool("seq_no_primary_term") {
							x.Params.Rename("seq_no_primary_term", "version")
							x.Note(seqNoNote, true)
						}
						return nil
					}),
				},
				Response: []Rule{at(translate.Hit, func(x *Exchange, n *Node) error {
					if x.Noted(seqNoNote) != nil {
						makeSeqNo(n)
					}
					return nil
				})},
			},
		},
	)
}

// forcedVersion is the key under which an item of a bulk or an mget says that its
// version is forced, "" if it does not.
func forcedVersion(n *Node) string {
	for _, key := range []string{"version_type", "_version_type", "versionType", "_versionType"} {
		if n.Get(key).String() == "force" {
			return key
		}
	}
	return ""
}

// askForVersions asks for the versions that sequence numbers are made of.
func askForVersions(x *Exchange, n *Node) error {
	asked := n.Get("seq_no_primary_term")
	if !n.Drop("seq_no_primary_term") || !asked.Bool() {
		return nil
	}
	n.Set("version", "true")
	x.Note(seqNoNote, true)
	return nil
}

const (
	seqNoNote    = "hits show sequence numbers"
	conflictType = "version_conflict_engine_exception"

	// Java clients of 6.x send these with writes that name no version.
	anyVersion = "-3"
	noVersion  = "-4" // the document must not exist
)

// conditionalAPIs take a version as a condition.
var conditionalAPIs = []string{"index", "create", "update", "delete"}

// creates reports whether a write is only for a document that does not exist.
func creates(x *Exchange) bool { return x.Asked.API == "create" || x.Params.Get("op_type") == "create" }

func isInternal(versionType string) bool { return versionType == "" || versionType == "internal" }

// sendAtVersion sends a write only if the document has the version that the
// client gave. A change in between is caught by the cluster: the write carries
// the sequence number that was read.
func sendAtVersion(ctx context.Context, x *Exchange, version string, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	get := esapi.Endpoint{API: "get", Method: "GET", Index: x.Endpoint.Index, ID: x.Endpoint.ID}
	path, ok := get.PathFor(x.Cluster)
	if !ok {
		return nil, x.Refuse("a write at a version")
	}
	read := esapi.NewRequest("GET", path, nil)
	read.Params.Set("_source", "false")
	if routing := r.Params.Get("routing"); routing != "" {
		read.Params.Set("routing", routing)
	}
	a, err := next.Send(ctx, read)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	data, err := io.ReadAll(a.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the version of a document: %w", err)
	}
	doc := gjson.ParseBytes(data)
	if !doc.Get("found").Exists() && a.Status >= 400 {
		if a.Status != http.StatusNotFound {
			return esapi.NewResponse(a.Status, data), nil
		}
		doc = gjson.Result{}
	}
	sent := *r
	sent.Params = r.Params.Clone()
	sent.Params.Drop("retry_on_conflict") // not together with a condition (DOC-18)
	v := doc.Get("_version").Raw
	if v != version {
		// The cluster makes the conflict, as it knows the shard.
		sent.Params.Set("if_seq_no", impossibleSeqNo)
		sent.Params.Set("if_primary_term", "1")
		a, err := next.Send(ctx, &sent)
		if err != nil || a.Status != http.StatusConflict {
			return a, err
		}
		return conflictAtVersion(a, versionConflict(x, x.Endpoint.Index, x.Endpoint.ID, v, version).Reason)
	}
	sent.Params.Set("if_seq_no", doc.Get("_seq_no").Raw)
	sent.Params.Set("if_primary_term", doc.Get("_primary_term").Raw)
	return next.Send(ctx, &sent)
}

// impossibleSeqNo is a number that no write gets.
const impossibleSeqNo = "9223372036854775807"

// conflictAtVersion gives a conflict about sequence numbers the reason that one
// about versions has.
func conflictAtVersion(a *esapi.Response, reason string) (*esapi.Response, error) {
	defer a.Body.Close()
	data, err := io.ReadAll(a.Body)
	if err != nil {
		return nil, fmt.Errorf("reading a version conflict: %w", err)
	}
	for _, path := range []string{"error.root_cause.0.reason", "error.reason"} {
		if gjson.GetBytes(data, path).Exists() {
			if data, err = sjson.SetBytes(data, path, reason); err != nil {
				return nil, fmt.Errorf("a version conflict that is no JSON: %w", err)
			}
		}
	}
	return esapi.NewResponse(a.Status, data), nil
}

// versionConflict is Elasticsearch's error for a document that has another
// version than the one given; an empty current means that it does not exist.
func versionConflict(x *Exchange, index, id, current, given string) *esapi.Error {
	if current == "" {
		current = "-1"
	}
	return &esapi.Error{Status: http.StatusConflict, Type: conflictType,
		Reason: fmt.Sprintf("[%s]: version conflict, current version [%s] is different than the one provided [%s]", id, current, given)}
}
