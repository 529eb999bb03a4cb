package esapi

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlToJSON reads the first document. Plain words are what Elasticsearch takes
// them for: yes and on are true, dates are texts. 5.x and 6.x take +5, 1_000, 0x10
// and 010 for texts or decimal; here they are the numbers that they are since 7.x.
//
// The document is held as nodes, of which each takes some 200 bytes however short
// it is written; so the body may not be large.
func yamlToJSON(body []byte, limit int) ([]byte, error) {
	if len(body) > maxYAML {
		return nil, errLongYAML
	}
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

// maxYAML bounds a body in YAML, in bytes.
const maxYAML = 4 << 20

var errLongYAML = errorText("it is larger than 4 MiB: send it as JSON")

var (
	jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
	yamlWhole  = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	yamlFloat  = regexp.MustCompile(`^[-+]?([0-9][0-9_]*(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$`)
	yamlOther  = regexp.MustCompile(`^[-+]?(0[xX][0-9a-fA-F]+|0[0-7]+|[1-9][0-9]*(_[0-9]+)+)$`)
)

func yamlScalar(n *yaml.Node) []byte {
	quoted := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	if !quoted && n.Tag != "!!binary" && (n.Style&yaml.TaggedStyle == 0 || n.Tag != "!!str") {
		plain := strings.TrimPrefix(n.Value, "+")
		switch n.Value {
		case "", "~", "null", "Null", "NULL":
			return []byte("null")
		case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON":
			return []byte("true")
		case "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF":
			return []byte("false")
		}
		if yamlWhole.MatchString(plain) {
			return []byte(plain)
		}
		if i, err := strconv.ParseInt(plain, 0, 64); err == nil && yamlOther.MatchString(n.Value) {
			return strconv.AppendInt(nil, i, 10)
		}
		if yamlFloat.MatchString(n.Value) {
			if f, err := strconv.ParseFloat(strings.ReplaceAll(plain, "_", ""), 64); err == nil {
				if jsonNumber.MatchString(plain) {
					return []byte(plain)
				}
				return appendFloat(nil, f, 64)
			}
		}
	}
	return appendText(nil, []byte(n.Value))
}
