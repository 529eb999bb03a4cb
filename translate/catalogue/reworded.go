package catalogue

import (
	"strings"

	"github.com/esperanto-es/esperanto/translate"
)

// Errors that say the same in other words, as seen on 5.6.16, 6.8.23, 7.10.2 and
// 8.7.1.

func init() {
	for _, w := range []rewording{
		{"KeepAlivesAreOfRequests", V(7, 10), "The reason for a keep-alive that is too long speaks of a request; it spoke of a scroll.",
			"Keep alive for scroll (", "Keep alive for request (", true},
		{"CollapseTakesOneSortWithSearchAfter", V(7, 16), "The reason for a collapse with search_after says when the two go together.",
			"cannot use `collapse` in conjunction with `search_after`",
			"Cannot use [collapse] in conjunction with [search_after] unless the search is sorted on the same field. Multiple sort fields are not allowed.", false},
		{"TypesOfMappingsAreNotExcused", V(8, 0), "The reason for a type around a mapping that is put does not name include_type_name.",
			"Types cannot be provided in put mapping requests, unless the include_type_name parameter is set to true.",
			"Types cannot be provided in put mapping requests", false},
		{"TypesOfNewMappingsAreNotExcused", V(8, 0), "The reason for a type around the mapping of a rollover does not name include_type_name.",
			"The mapping definition cannot be nested under a type [_doc] unless include_type_name is set to true.",
			"The mapping definition cannot be nested under a type", false},
		{"VotingNodesAreNamedInTwoWays", V(8, 0), "The reason for a voting exclusion without nodes, or with too many, names two parameters; it named three.",
			"Please set node identifiers correctly. One and only one of [node_name], [node_names] and [node_ids] has to be set",
			"You must set [node_names] or [node_ids] but not both", false},
	} {
		newClient := nothing
		if w.bothWays {
			newClient = Direction{Fidelity: translate.Exact, Response: []Rule{reword(w.older, w.newer)}}
		}
		translate.Register(&Change{
			ID: "ERR-14", Name: w.name, Since: w.since, Doc: w.doc,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{reword(w.newer, w.older)}},
			NewClient: newClient,
		})
	}
}

// A rewording is a reason, or the beginning of one that goes on behind a bracket,
// in the words of older and of newer versions.
type rewording struct {
	name         string
	since        Version
	doc          string
	older, newer string
	bothWays     bool
}

func reword(from, to string) Rule {
	return at(translate.Error, func(_ *Exchange, n *Node) error {
		reason := n.Get("reason").String()
		if rest, ok := strings.CutPrefix(reason, from); ok && (rest == "" || strings.HasSuffix(from, "(")) {
			n.SetString("reason", to+rest)
		}
		return nil
	})
}
