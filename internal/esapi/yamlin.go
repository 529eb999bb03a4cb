package esapi

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlToJSON reads the first document. Plain words are what they are in JSON: yes,
// on and dates are texts.
func yamlToJSON(body []byte, limit int) ([]byte, error) {
	var doc yaml.Node
	err := yaml.NewDecoder(bytes.NewReader(body)).Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
		return nil, nil
	}
	return appendYAML(nil, doc.Content[0], 0, limit)
}

func appendYAML(b []byte, n *yaml.Node, depth, limit int) ([]byte, error) {
	if depth > maxNesting {
		return nil, errNesting
	}
	if len(b) > limit {
		return nil, errLarge
	}
	var err error
	switch n.Kind {
	case yaml.MappingNode:
		b = append(b, '{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b = append(b, ',')
			}
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode {
				return nil, errorText("a key that is not a text")
			}
			b = append(appendText(b, []byte(key.Value)), ':')
			if b, err = appendYAML(b, n.Content[i+1], depth+1, limit); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	case yaml.SequenceNode:
		b = append(b, '[')
		for i, e := range n.Content {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendYAML(b, e, depth+1, limit); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case yaml.ScalarNode:
		return append(b, yamlScalar(n)...), nil
	}
	return nil, errorText("aliases are not taken: write the value out")
}

var (
	yamlWhole = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	yamlFloat = regexp.MustCompile(`^-?(0|[1-9][0-9]*)\.[0-9]+([eE][-+]?[0-9]+)?$`)
)

func yamlScalar(n *yaml.Node) []byte {
	quoted := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	if !quoted && n.Tag != "!!binary" && (n.Style&yaml.TaggedStyle == 0 || n.Tag != "!!str") {
		plain := strings.TrimPrefix(n.Value, "+")
		switch n.Value {
		case "", "~", "null", "Null", "NULL":
			return []byte("null")
		case "true", "True", "TRUE":
			return []byte("true")
		case "false", "False", "FALSE":
			return []byte("false")
		}
		if yamlWhole.MatchString(plain) || yamlFloat.MatchString(plain) {
			return []byte(plain)
		}
	}
	return appendText(nil, []byte(n.Value))
}
