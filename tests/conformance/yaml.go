package conformance

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	wholeNumber = regexp.MustCompile(`^[-+]?[0-9]+$`)
	fraction    = regexp.MustCompile(`^[-+]?[0-9]+\.[0-9]*([eE][-+]?[0-9]+)?$`)
)

// fromYAML reads YAML as Elasticsearch does, by the rules of JSON: yes, on and
// dates are strings.
func fromYAML(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.AliasNode:
		return fromYAML(n.Alias)
	case yaml.DocumentNode:
		return fromYAML(n.Content[0])
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			v, err := fromYAML(c)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		o := newObject()
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("line %d: a key that is no scalar", n.Content[i].Line)
			}
			v, err := fromYAML(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			o.set(n.Content[i].Value, v)
		}
		return o, nil
	case yaml.ScalarNode:
		if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			return n.Value, nil
		}
		return plain(n.Value), nil
	}
	return nil, fmt.Errorf("line %d: YAML of an unknown kind", n.Line)
}

// plain reads a scalar without quotes.
func plain(s string) any {
	switch s {
	case "", "~", "null":
		return nil
	case "true", "false":
		return s == "true"
	}
	if !wholeNumber.MatchString(s) && !fraction.MatchString(s) {
		return s
	}
	s = strings.TrimPrefix(s, "+")
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for len(s) > 1 && s[0] == '0' && s[1] != '.' {
		s = s[1:]
	}
	if strings.HasSuffix(s, ".") {
		s += "0"
	}
	return json.Number(sign + s)
}
