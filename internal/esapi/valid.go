package esapi

import (
	"bytes"

	"github.com/tidwall/gjson"
)

// ValidJSON reports whether a body is one JSON value that is not nested too
// deeply. gjson alone goes down as deep as a body says, and a goroutine's stack
// that has become too large ends the process.
func ValidJSON(body []byte) bool {
	return !nestedTooDeeply(body) && gjson.ValidBytes(body)
}

func nestedTooDeeply(body []byte) bool {
	if bytes.Count(body, []byte("{"))+bytes.Count(body, []byte("[")) <= maxNesting {
		return false
	}
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxNesting {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
