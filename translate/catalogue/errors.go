package catalogue

import (
	"bytes"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/esperanto-es/esperanto/translate"
)

// Errors: their types, texts and status.

func init() {
	translate.Register(
		&Change{
			ID: "ERR-02", Name: "IndexExistsWasRenamed", Since: V(6, 0),
			Doc:       "The error for an index that exists is resource_already_exists_exception; it was index_already_exists_exception.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{renameError("resource_already_exists_exception", "index_already_exists_exception", ofAnIndex)}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{renameError("index_already_exists_exception", "resource_already_exists_exception", nil)}},
		},
		&Change{
			ID: "ERR-03", Name: "DocumentErrorsGotATypeOfTheirOwn", Since: V(8, 8),
			Doc: "A document that cannot be read is a document_parsing_exception, with line and column in front of the reason; it was a mapper_parsing_exception.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Error, func(_ *Exchange, n *Node) error {
				if n.Get("type").String() == "document_parsing_exception" {
					n.Set("type", `"mapper_parsing_exception"`)
					if reason := n.Get("reason").String(); lineAndColumn.MatchString(reason) {
						n.SetString("reason", lineAndColumn.ReplaceAllString(reason, ""))
					}
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "line and column of the mistake", Response: []Rule{
				renameError("mapper_parsing_exception", "document_parsing_exception", func(x *Exchange, _ *Node) bool {
					return x.Asked.API == "bulk" || slices.Contains(writeAPIs, x.Asked.API)
				})}},
		},
		&Change{
			ID: "ERR-04", Name: "ErrorsLostTheType", Since: V(7, 0),
			Doc:       "Errors about a document say [1], not [book][1].",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Error, typedReason)}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Error, typedReason)}},
		},
		&Change{
			ID: "ERR-06", Name: "MissingDocumentsLostTheType", Since: V(8, 0),
			Doc:       "The error for a missing document says [1], not [_doc][1].",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Error, typedReason)}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Error, typedReason)}},
		},
		&Change{
			ID: "ERR-07", Name: "ClosedIndexBecameABadRequest", Since: V(6, 0),
			Doc: "A search of a closed index answers 400; it was 403.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.WriteResult, closedItem(http.StatusForbidden)),
				onErrors(closedStatus(http.StatusBadRequest, http.StatusForbidden))}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.WriteResult, closedItem(http.StatusBadRequest)),
				onErrors(closedStatus(http.StatusForbidden, http.StatusBadRequest))}},
		},
		&Change{
			ID: "ERR-16", Name: "MissingIndicesAreNamed", Since: V(7, 0),
			Doc: `The reason for a missing index names it: "no such index [books]".`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Error, func(_ *Exchange, n *Node) error {
				if reason := n.Get("reason").String(); n.Get("type").String() == "index_not_found_exception" && strings.HasPrefix(reason, "no such index [") {
					n.Set("reason", `"no such index"`)
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Error, func(_ *Exchange, n *Node) error {
				if index := n.Get("index"); n.Get("type").String() == "index_not_found_exception" && n.Get("reason").String() == "no such index" && index.Exists() {
					n.SetString("reason", "no such index ["+index.String()+"]")
				}
				return nil
			})}},
		},
	)
}

// lineAndColumn stands in front of the reasons of document errors.
var lineAndColumn = regexp.MustCompile(`^\[-?\d+:-?\d+\] `)

func renameError(from, to string, when func(*Exchange, *Node) bool) Rule {
	return at(translate.Error, func(x *Exchange, n *Node) error {
		if n.Get("type").String() == from && (when == nil || when(x, n)) {
			n.SetString("type", to)
		}
		return nil
	})
}

func ofAnIndex(_ *Exchange, n *Node) bool {
	return n.Has("index") || strings.HasPrefix(n.Get("reason").String(), "index [")
}

// documentReason matches the reasons that begin with a document's id, or with
// its type and id.
var documentReason = regexp.MustCompile(`^(?:\[([^\]]*)\])?\[([^\]]*)\]: (version conflict|document missing)`)

// typedReason writes the reason of a document's error as the client's version
// does: 7.x still shows the type of a missing document.
func typedReason(x *Exchange, n *Node) error {
	kind := n.Get("type").String()
	if kind != "version_conflict_engine_exception" && kind != "document_missing_exception" {
		return nil
	}
	reason := n.Get("reason").String()
	at := documentReason.FindStringSubmatchIndex(reason)
	if at == nil {
		return nil
	}
	index := n.Get("index").String()
	t := ""
	switch {
	case x.Client.Before(V(7, 0)):
		t = "[" + x.TypeOf(index) + "]"
	case kind == "document_missing_exception" && x.Client.Before(V(8, 0)):
		t = "[" + shownType(x, index) + "]"
	}
	id := reason[at[4]:at[5]]
	if changed := t + "[" + id + "]" + reason[at[5]+1:]; changed != reason {
		n.SetString("reason", changed)
	}
	return nil
}

// closedItem changes the status of an item of a bulk.
func closedItem(to int) func(*Exchange, *Node) error {
	return func(_ *Exchange, n *Node) error {
		if n.Name() != "" && n.Get("error").Get("type").String() == "index_closed_exception" {
			n.Set("status", itoa(to))
		}
		return nil
	}
}

// closedStatus changes the status of an answer about a closed index.
func closedStatus(from, to int) func(*Exchange, *Node) error {
	return func(x *Exchange, _ *Node) error {
		if x.Status == from && bytes.Contains(x.AnswerBody(), []byte(`"index_closed_exception"`)) {
			x.Status = to
		}
		return nil
	}
}
