package catalogue

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Bulk metadata and the items of mget.

func init() {
	translate.Register(
		&Change{
			ID: "BULK-01", Name: "BulkMetadataLostItsUnderscores", Since: V(6, 0), Removed: V(7, 0),
			Doc: "The action lines of a bulk write routing, version, version_type and retry_on_conflict without an underscore; parent became routing.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				at(translate.BulkMeta, func(_ *Exchange, n *Node) error {
					renameAll(n, "routing", "_routing")
					renameAll(n, "routing", "parent", "_parent")
					renameAll(n, "version", "_version")
					renameAll(n, "version_type", "_version_type", "versionType", "_versionType")
					renameAll(n, "retry_on_conflict", "_retry_on_conflict", "retryOnConflict", "_retryOnConflict")
					renameAll(n, "op_type", "opType")
					renameAll(n, "_source", "fields")
					return nil
				}),
			}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				rename(translate.BulkMeta, "retry_on_conflict", "_retry_on_conflict"),
			}},
		},
		&Change{
			ID: "BULK-01", Name: "BulkTimestampAndTTLWereRemoved", Since: V(6, 0),
			Doc: "The action lines of a bulk take no timestamp and no ttl.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "timestamp and ttl of mappings from 2.x", Request: []Rule{
				drop(translate.BulkMeta, "timestamp", "_timestamp", "ttl", "_ttl"),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "BULK-01", Name: "UnderscoresInBulkMetadataBecameErrors", Since: V(7, 0),
			Doc:       "The keys with an underscore in front, and those in camelCase, are refused in action lines.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.BulkMeta, refuseOldKeys(map[string]string{
				"bulk": "Action/metadata line contains an unknown parameter [%s]"}))}},
		},
		&Change{
			ID: "BULK-02", Name: "BulkItemsLostTheirType", Since: V(7, 0),
			Doc: `The action lines of a bulk name no "_type".`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				at(translate.BulkAction, nextBulkItem), at(translate.BulkMeta, dropBulkType),
			}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.BulkMeta, func(x *Exchange, n *Node) error {
				t, named := x.ClusterType(itemIndex(x, n)), n.Get("_type").String()
				if known, _, err := knownType(x, itemIndex(x, n)); err == nil && known == "" && named != "" && named != "_doc" {
					t = named // the item makes the index, or its mapping
				}
				n.InsertAfter("_index", "_type", translate.Quote(t))
				return nil
			})}},
		},
		&Change{
			ID: "BULK-02", Name: "BulkTypeIsRefused", Since: V(8, 0),
			Doc: `An action line with "_type" is refused; 7.x still took it.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				drop(translate.BulkMeta, "_type"),
				onAPIs(translate.RequestHead, []string{"bulk"}, func(x *Exchange, _ *Node) error {
					if x.Asked.API == "bulk" {
						x.ViaPerhaps(withoutTypesOfBrokenLines)
					}
					return nil
				}),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "BULK-01", Name: "DynamicTemplatesOfBulkItemsAppeared", Since: V(7, 13),
			Doc:       "An action line may choose dynamic templates for new fields.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "dynamic_templates of an action line: the mapping's own templates decide", Request: []Rule{
				drop(translate.BulkMeta, "dynamic_templates"),
			}},
		},
		&Change{
			ID: "MGET-01", Name: "MgetItemsLostUnderscoresAndType", Since: V(7, 0),
			Doc: `The items of mget write routing, version and version_type without an underscore and name no "_type".`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.MgetBody, idsOfForeignType), at(translate.MgetItem, func(x *Exchange, n *Node) error {
				if err := noteForeignItem(x, n); err != nil {
					return err
				}
				n.Drop("_type")
				renameAll(n, "routing", "_routing")
				renameAll(n, "routing", "parent", "_parent")
				renameAll(n, "version", "_version")
				renameAll(n, "version_type", "_version_type", "versionType", "_versionType")
				if x.Asked.API == "mget" { // those of mtermvectors are not stored ones
					renameAll(n, "stored_fields", "fields")
				}
				return nil
			})}, Response: []Rule{at(translate.Doc, showMgetItem)}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				at(translate.MgetItem, refuseOldKeys(map[string]string{"mget": "failed to parse multi get request. unknown field [%s]",
					"mtermvectors": "failed to parse term vectors request. unknown field [%s]"})),
				at(translate.MgetBody, idsOfForeignType), at(translate.MgetItem, noteForeignItem), drop(translate.MgetItem, "_type")},
				Response: []Rule{at(translate.Doc, showMgetItem)}},
		},
		&Change{
			ID: "MGET-01", Name: "MgetTypeIsRefused", Since: V(8, 0),
			Doc: `An item of mget with "_type" is refused; 7.x still took it.`,
			OldClient: Direction{Fidelity: translate.Exact,
				Request: []Rule{from7(at(translate.MgetBody, idsOfForeignType)), from7(at(translate.MgetItem, noteForeignItem)),
					drop(translate.MgetItem, "_type")},
				Response: []Rule{from7(at(translate.Doc, showMgetItem))}},
			NewClient: nothing,
		},
		&Change{
			ID: "MGET-04", Name: "SourceFiltersAreWrittenInPlural", Since: V(7, 0),
			Doc: "Source filters in a body are called includes and excludes; include and exclude are deprecated.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				keyed(at(translate.MgetItem, pluralSource), "_source"), keyed(at(translate.SearchBody, pluralSource), "_source"),
			}},
			NewClient: withoutRules,
		},
	)
}

// oldItemKeys are the keys of items that clusters before 7.0 still read.
var oldItemKeys = []string{"_routing", "_parent", "parent", "_version", "_version_type", "versionType", "_versionType", "_retry_on_conflict",
	"retryOnConflict", "_retryOnConflict", "opType", "fields"}

// refuseOldKeys refuses what a newer cluster does, in its words for each API.
func refuseOldKeys(words map[string]string) func(*Exchange, *Node) error {
	return func(x *Exchange, n *Node) error {
		said, ok := words[x.Asked.API]
		if !ok {
			return nil
		}
		for _, k := range n.KeysIn(oldItemKeys) {
			if !(k == "fields" && x.Asked.API == "mtermvectors") {
				e := esapi.IllegalArgument(fmt.Sprintf(said, k))
				if x.Asked.API != "bulk" {
					e.Type = "parse_exception"
				}
				return e
			}
		}
		return nil
	}
}

// renameAll gives the first of the old names that is there the new one.
func renameAll(n *Node, to string, from ...string) {
	for _, f := range from {
		n.Rename(f, to)
	}
}

// itemIndex is the index of a bulk item.
func itemIndex(x *Exchange, n *Node) string {
	if i := n.Get("_index"); i.Exists() {
		return i.String()
	}
	return x.Endpoint.Index
}

// idsOfForeignType lets an mget of plain ids below a type that the index does not
// have find nothing (DOC-04).
func idsOfForeignType(x *Exchange, n *Node) error {
	ids := n.Get("ids")
	if x.Asked.Type == "" || !ids.IsArray() {
		return nil
	}
	for range ids.Array() {
		mgetItemsOf(x).askedAs = append(mgetItemsOf(x).askedAs, x.Asked.Type)
	}
	known, exists, err := knownType(x, x.Endpoint.Index)
	if err != nil || !exists || known == "" || !foreign(x, known, x.Asked.Type) {
		return err
	}
	for _, id := range ids.Array() {
		mgetItemsOf(x).answer(notFound(x.Endpoint.Index, x.Asked.Type, id.String()))
		mgetItemsOf(x).asked++
	}
	return nil
}

// noteForeignItem does so for an item of an mget.
func noteForeignItem(x *Exchange, n *Node) error {
	index, t := itemIndex(x, n), orElse(n.Get("_type").String(), x.Asked.Type)
	x.AskedWith(index, n.Get("_type").String())
	items := mgetItemsOf(x)
	items.typed[index] = items.typed[index] || t != ""
	items.askedAs = append(items.askedAs, t)
	defer func() { items.asked++ }()
	if t == "" || items.own[items.asked] != "" {
		return nil
	}
	known, exists, err := knownType(x, index)
	if err == nil && exists && known != "" && foreign(x, known, t) {
		items.answer(notFound(index, t, n.Get("_id").String()))
	}
	return err
}

func notFound(index, t, id string) string {
	return `{"_index":` + translate.Quote(index) + `,"_type":` + translate.Quote(t) + `,"_id":` + translate.Quote(id) + `,"found":false}`
}

func pluralFilter(filter gjson.Result) string {
	var b strings.Builder
	b.WriteByte('{')
	filter.ForEach(func(key, value gjson.Result) bool {
		name := key.String()
		switch name {
		case "include":
			name = "includes"
		case "exclude":
			name = "excludes"
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.WriteString(translate.Quote(name) + ":" + value.Raw)
		return true
	})
	b.WriteByte('}')
	return b.String()
}

// typeInLine finds the type in the text of an action line.
var typeInLine = regexp.MustCompile(`"_type"\s*:\s*"[^"]*"\s*,?`)

// withoutTypesOfBrokenLines sends a bulk again whose lines are no JSON, without
// the types in these: the cluster is to say what is wrong with the JSON, and not
// that it knows no types. Nothing of a bulk is done that is refused so.
func withoutTypesOfBrokenLines(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	a, err := next.Send(ctx, r)
	if err != nil || a.Status != http.StatusBadRequest {
		return a, err
	}
	answer, err := readAll(a)
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(answer, []byte("contains an unknown parameter [_type]")) {
		return withBody(a, answer), nil
	}
	var body []byte
	for rest := r.Body; len(rest) > 0; {
		var line []byte
		if line, rest = cutLine(rest); !gjson.ValidBytes(line) {
			line = typeInLine.ReplaceAll(line, nil)
		}
		body = append(body, line...)
	}
	if bytes.Equal(body, r.Body) {
		return withBody(a, answer), nil
	}
	again := *r
	again.Body = body
	return next.Send(ctx, &again)
}

// nextBulkItem counts the items, so that those which need more than a
// translation can be told apart.
func nextBulkItem(x *Exchange, _ *Node) error {
	bulkItemsOf(x).seen++
	return nil
}

// dropBulkType takes the type out of an action line. An item of another type than
// the index has fails alone, as a second type does on 6.x (ERR-10); a delete finds
// nothing there, and must not reach the document that has the id.
func dropBulkType(x *Exchange, n *Node) error {
	t := n.Get("_type").String()
	if t == "" {
		t = x.Asked.Type
	}
	n.Drop("_type")
	if t == "" {
		return nil
	}
	index := itemIndex(x, n)
	x.AskedWith(index, t)
	f, _, err := knownIndex(x, index)
	if err != nil {
		return err
	}
	items := bulkItemsOf(x)
	known := items.types[index]
	news := known == "" && isNews(f, t)
	if known == "" {
		known = f.Type
	}
	switch {
	case news:
		if n.Name() != "delete" {
			items.learn(x, index, t)
		}
	case !foreign(x, known, t):
	case n.Name() == "delete":
		items.add(x, n).findsNothing(x, t)
	default:
		items.refuse(x, n, secondType(x, index, known, t).(*esapi.Error))
	}
	return nil
}

// pluralSource renames the members of a source filter.
func pluralSource(_ *Exchange, n *Node) error {
	if s := n.Get("_source"); s.IsObject() {
		n.Set("_source", pluralFilter(s))
	}
	return nil
}
