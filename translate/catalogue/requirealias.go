package catalogue

import (
	"net/http"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Writes that must go through an alias, on clusters that cannot check that.

func init() {
	translate.Register(
		&Change{
			ID: "BULK-01", Name: "RequireAliasAppeared", Since: V(7, 10),
			Doc:       "require_alias makes a write fail unless its target is an alias.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "whether a name is an alias is asked before; an alias that was made or removed within the last seconds may be missed",
				Request: []Rule{
					at(translate.RequestHead, func(x *Exchange, _ *Node) error {
						required := x.Params.Bool("require_alias")
						x.Params.Drop("require_alias")
						switch x.Asked.API {
						case "bulk":
							x.Note(requireAliasNote, required)
						case "index", "create", "update":
							if required {
								return checkAlias(x, x.Endpoint.Index)
							}
						}
						return nil
					}),
					at(translate.BulkAction, nextBulkItem),
					at(translate.BulkMeta, func(x *Exchange, n *Node) error {
						required, _ := x.Noted(requireAliasNote).(bool)
						if own := n.Get("require_alias"); own.Exists() {
							required = own.Type == gjson.True || own.String() == "true"
							n.Drop("require_alias")
						}
						if !required || n.Name() == "delete" {
							return nil
						}
						err := checkAlias(x, itemIndex(x, n))
						if missing, ok := err.(*esapi.Error); ok && missing.Status == http.StatusNotFound {
							bulkItemsOf(x).refuse(x, n, missing)
							return nil
						}
						return err
					}),
				}},
		},
	)
}

const requireAliasNote = "the items of the bulk need an alias"

// checkAlias fails as 7.10 does for what is no alias.
func checkAlias(x *Exchange, name string) error {
	if x.Facts == nil {
		return x.Refuse("require_alias")
	}
	f, ok, err := x.Facts.Index(x.Context(), name)
	if err != nil || ok && f.Name != name {
		return err
	}
	return &esapi.Error{Status: http.StatusNotFound, Type: "index_not_found_exception", IndexUUID: "_na_", Index: name,
		Reason: "no such index [" + name + "] and [require_alias] request flag is [true] and [" + name + "] is not an alias"}
}
