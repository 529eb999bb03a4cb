package catalogue

import (
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// What answers gained in the later 8.x. The versions were found by asking 8.7.1,
// 8.11.3, 8.13.4, 8.14.3, 8.15.5 and 8.17.3.

func init() {
	translate.Register(
		&Change{
			ID: "OPS-08", Name: "RolloverTellsLaziness", Since: V(8, 13),
			Doc:       "The answer to a rollover says whether it was lazy.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Answer, dropFrom([]string{"indices.rollover"}, "lazy"))}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Answer, func(x *Exchange, n *Node) error {
				if x.Asked.API == "indices.rollover" && n.Has("dry_run") {
					n.InsertAfter("dry_run", "lazy", "false")
				}
				return nil
			})}},
		},
		&Change{
			ID: "OPS-08", Name: "RolloverOfAMissingTargetIsABadRequest", Since: V(8, 13),
			Doc:       "The rollover of an alias that does not exist answers 400 again; it was 404.",
			OldClient: Direction{Fidelity: translate.Exact, Response: missingTarget(http.StatusBadRequest, http.StatusNotFound)},
			NewClient: Direction{Fidelity: translate.Exact, Response: missingTarget(http.StatusNotFound, http.StatusBadRequest)},
		},
		&Change{
			ID: "ALI-01", Name: "AliasUpdatesTellErrors", Since: V(8, 14),
			Doc:       "The answer to a change of aliases says whether some of the actions failed.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Answer, dropFrom(changesAliases, "errors"))}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Answer, func(x *Exchange, n *Node) error {
				if slices.Contains(changesAliases, x.Asked.API) && n.Has("acknowledged") && !n.Has("errors") {
					n.InsertAfter("acknowledged", "errors", "false")
				}
				return nil
			})}},
		},
		&Change{
			ID: "OPS-10", Name: "DocumentsStatisticsTellTheirSize", Since: V(8, 14),
			Doc: "The statistics of documents have total_size_in_bytes.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.StatsDocs, func(_ *Exchange, n *Node) error {
				n.Drop("total_size_in_bytes")
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "total_size_in_bytes of the documents: the statistics of the store have about the same number"},
		},
		&Change{
			ID: "ERR-14", Name: "BodiesThatBreakOffAreBadRequests", Since: V(8, 15),
			Doc:       "The error for a body that breaks off is 400 with the reason \"Unexpected end of file\"; it was 500 with the JSON parser's.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{onErrors(endOfFileStatus(http.StatusBadRequest, http.StatusInternalServerError)), at(translate.Error, parsersEnd)}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{onErrors(endOfFileStatus(http.StatusInternalServerError, http.StatusBadRequest)), at(translate.Error, plainEnd)}},
		},
	)
}

var changesAliases = []string{"indices.update_aliases", "indices.put_alias", "indices.delete_alias"}

// dropFrom takes a key out of the answers of some APIs.
func dropFrom(apis []string, key string) func(*Exchange, *Node) error {
	return func(x *Exchange, n *Node) error {
		if slices.Contains(apis, x.Asked.API) {
			n.Drop(key)
		}
		return nil
	}
}

// noTarget begins how 8.13 says that the target of a rollover does not exist.
const noTarget = "rollover target ["

// missingTarget changes the answer to a rollover of what does not exist.
func missingTarget(from, to int) []Rule {
	return []Rule{onAPIs(translate.AnswerHead, []string{"indices.rollover"}, func(x *Exchange, _ *Node) error {
		if x.Asked.API != "indices.rollover" || x.Status != from {
			return nil
		}
		newer := noTarget + x.Asked.Alias + "] does not exist"
		if to == http.StatusBadRequest {
			x.Status, x.Replacement = to, []byte(errorBody(to, "illegal_argument_exception", newer))
		} else if gjson.GetBytes(x.AnswerBody(), "error.reason").String() == newer {
			x.Status, x.Replacement = to, []byte(missingIndex(x.Asked.Alias))
		}
		return nil
	})}
}

// endOfFile is how 8.15 says that a body breaks off.
const endOfFile = "Unexpected end of file"

// endOfFileStatus changes the status of the error for a body that breaks off.
func endOfFileStatus(from, to int) func(*Exchange, *Node) error {
	return func(x *Exchange, _ *Node) error {
		e := gjson.GetBytes(x.AnswerBody(), "error")
		if x.Status == from && e.Get("type").String() == "x_content_e_o_f_exception" {
			x.Status = to
			x.Note(endOfFile, e.Get("caused_by.reason").String())
		}
		return nil
	}
}

// parsersEnd gives such an error the reason of the JSON parser, which its cause has.
func parsersEnd(x *Exchange, n *Node) error {
	if n.Get("type").String() == "x_content_e_o_f_exception" && strings.HasSuffix(n.Get("reason").String(), endOfFile) {
		if cause, _ := x.Noted(endOfFile).(string); cause != "" {
			n.SetString("reason", eofClass+cause)
			n.Drop("caused_by")
		}
	}
	return nil
}

func plainEnd(_ *Exchange, n *Node) error {
	reason, isParsers := strings.CutPrefix(n.Get("reason").String(), eofClass)
	at := position.FindStringSubmatch(reason)
	if n.Get("type").String() != "x_content_e_o_f_exception" || !isParsers || at == nil {
		return nil
	}
	n.SetString("reason", "["+at[1]+":"+at[2]+"] "+endOfFile)
	if n.Name() == "error" {
		n.Set("caused_by", `{"type":"json_e_o_f_exception","reason":`+translate.Quote(reason)+`}`)
	}
	return nil
}
