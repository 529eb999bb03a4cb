package catalogue

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// Dynamic templates of mappings.

func init() {
	translate.Register(
		&Change{
			ID: "FLD-22", Name: "DynamicTemplatesTakeLists", Since: V(8, 9),
			Doc:       `match, path_match and match_mapping_type of a dynamic template, and what it leaves out, can be lists of patterns.`,
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the mapping shows a template for each pattern; lists of what is left out (unmatch, path_unmatch) are refused",
				Request: []Rule{at(translate.MappingBody, splitDynamicTemplates)}},
		},
	)
}

// splitDynamicTemplates writes a template for each pattern of a list.
func splitDynamicTemplates(x *Exchange, n *Node) error {
	templates := n.Get("dynamic_templates")
	if !templates.IsArray() {
		return nil
	}
	var list []string
	split := false
	var err error
	for _, named := range templates.Array() {
		named.ForEach(func(name, template gjson.Result) bool {
			var some []string
			if some, err = singlePatterns(x, template); err != nil {
				return false
			}
			split = split || len(some) != 1 || some[0] != template.Raw
			for i, one := range some {
				title := name.String()
				if i > 0 {
					title += "_" + itoa(i+1)
				}
				list = append(list, "{"+translate.Quote(title)+":"+one+"}")
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	if split {
		n.Set("dynamic_templates", "["+strings.Join(list, ",")+"]")
	}
	return nil
}

// maxPatterns bounds what a template becomes.
const maxPatterns = 1000

// singlePatterns writes a template for each combination of its patterns.
func singlePatterns(x *Exchange, template gjson.Result) ([]string, error) {
	all := []string{template.Raw}
	for _, key := range []string{"unmatch", "path_unmatch"} {
		switch left := template.Get(key); {
		case !left.IsArray():
		case len(left.Array()) == 1:
			all = withEach(all, key, left.Array())
		default:
			return nil, x.Refuse("a list of patterns in %s of a dynamic template", key)
		}
	}
	for _, key := range []string{"match", "path_match", "match_mapping_type"} {
		if patterns := template.Get(key); patterns.IsArray() {
			if all = withEach(all, key, patterns.Array()); len(all) > maxPatterns {
				return nil, x.Refuse("a dynamic template with more than %d patterns", maxPatterns)
			}
		}
	}
	return all, nil
}

// withEach gives each of the templates each of the patterns.
func withEach(templates []string, key string, patterns []gjson.Result) []string {
	var all []string
	for _, t := range templates {
		for _, p := range patterns {
			n := translate.NewNode(t)
			n.Set(key, p.Raw)
			all = append(all, n.Raw())
		}
	}
	return all
}
