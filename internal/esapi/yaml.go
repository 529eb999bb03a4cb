package esapi

import (
	"bufio"
	"strings"
)

// A yamlPrinter writes YAML as Elasticsearch does for ?format=yaml: strings in
// double quotes, with JSON's escapes, and lists as far left as their names.
type yamlPrinter struct {
	w     *bufio.Writer
	stack []yamlLevel
	named bool // a name stands on the line, its value does not
	begun bool
	plain bool // names that are words of YAML need no quotes
}

type yamlLevel struct {
	bracket byte
	indent  int
	filled  bool
	inline  bool // its first line has begun, behind a dash
}

// before starts a member, an element or a value.
func (y *yamlPrinter) before() {
	if len(y.stack) == 0 {
		y.begun = true
		y.w.WriteString("--- ")
		return
	}
	if y.named {
		y.named = false
		y.w.WriteByte(' ')
		return
	}
	top := &y.stack[len(y.stack)-1]
	y.line(top)
	if top.bracket == '[' {
		y.w.WriteString("- ")
	}
}

func (y *yamlPrinter) line(top *yamlLevel) {
	if top.filled || !top.inline {
		y.w.WriteByte('\n')
		for range top.indent {
			y.w.WriteByte(' ')
		}
	}
	top.filled = true
}

func (y *yamlPrinter) open(bracket byte) {
	level := yamlLevel{bracket: bracket, inline: true}
	if len(y.stack) == 0 {
		y.begun = true
		y.w.WriteString("---")
		level.inline = false
		y.stack = append(y.stack, level)
		return
	}
	top := y.stack[len(y.stack)-1]
	level.indent = top.indent
	if y.named {
		y.named = false
		level.inline = false
		if bracket == '{' {
			level.indent += 2
		}
	} else {
		y.before()
		level.indent += 2
	}
	y.stack = append(y.stack, level)
}

func (y *yamlPrinter) close() {
	last := len(y.stack) - 1
	level := y.stack[last]
	y.stack = y.stack[:last]
	if level.filled {
		return
	}
	if !level.inline {
		y.w.WriteByte(' ')
	}
	y.w.WriteByte(level.bracket)
	y.w.WriteByte(level.bracket + 2)
}

func (y *yamlPrinter) name(raw []byte) {
	y.before()
	if plain := string(raw[1 : len(raw)-1]); isPlainYAML(plain, y.plain) {
		y.w.WriteString(plain)
	} else {
		y.w.Write(raw)
	}
	y.w.WriteByte(':')
	y.named = true
}

func (y *yamlPrinter) scalar(piece []byte, more bool) {
	if !more {
		y.before()
	}
	y.w.Write(piece)
}

func (y *yamlPrinter) end() {
	if !y.begun { // a list in which nothing remains
		y.w.WriteString("--- []")
	}
	y.w.WriteByte('\n')
}

// isPlainYAML reports whether a name needs no quotes.
func isPlainYAML(name string, words bool) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_':
		case i > 0 && ('0' <= c && c <= '9' || strings.IndexByte("-./", c) >= 0):
		default:
			return false
		}
	}
	switch lower := strings.ToLower(name); lower {
	case "", "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		return words && lower != ""
	}
	return true
}
