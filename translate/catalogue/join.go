package catalogue

import (
	"github.com/esperanto-es/esperanto/translate"
)

// Parents and children: types with _parent up to 5.x, documents with a join field
// from 6.0 on. With "types merge" they share an index (manytypes.go).

func init() {
	translate.Register(
		&Change{
			ID: "DOC-07", Name: "ParentBecameRouting", Since: V(6, 0),
			Doc: "The parameter parent of a document is gone: routing says where it lies. (With types merge the join field says who its parent is.)",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "without types merge, who the parent is", Request: []Rule{
				withParams(translate.RequestHead, func(x *Exchange, _ *Node) error {
					if x.Params.Has("routing") {
						x.Params.Drop("parent")
					} else {
						x.Params.Rename("parent", "routing")
					}
					return nil
				}),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "AGG-29", Name: "ParentsCannotBeAggregated", Since: V(5, 6), Removed: V(6, 0),
			Doc: "An aggregation names the relations of a join field in place of types: children by type, and terms on the field _parent#type, which is the join field's now.",
			OldClient: Direction{Fidelity: translate.Exact, Loses: "without types merge, aggregations on parents and children",
				Request: []Rule{at(translate.Aggregation("children"), func(x *Exchange, n *Node) error {
					shared, err := sharedIndices(x, x.Searched())
					if err == nil && len(shared) > 0 && n.Has("type") {
						n.SetString("type", translate.TypeMark(n.Get("type").String()))
					}
					return err
				})}},
			NewClient: nothing,
		},
	)
}
