package conformance

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strings"
)

// checks compare what an answer has with what a test expects. Each returns what
// is wrong, or nothing.
var checks = map[string]func(actual, want any) string{
	"match":    match,
	"is_true":  func(actual, _ any) string { return truth(actual, true) },
	"is_false": func(actual, _ any) string { return truth(actual, false) },
	"length":   length,
	"contains": contains,
	"gt":       func(a, w any) string { return compare(a, w, ">", func(c int) bool { return c > 0 }) },
	"gte":      func(a, w any) string { return compare(a, w, ">=", func(c int) bool { return c >= 0 }) },
	"lt":       func(a, w any) string { return compare(a, w, "<", func(c int) bool { return c < 0 }) },
	"lte":      func(a, w any) string { return compare(a, w, "<=", func(c int) bool { return c <= 0 }) },
}

func match(actual, want any) string {
	if s, ok := want.(string); ok {
		s = strings.TrimSpace(s)
		if len(s) > 2 && s[0] == '/' && s[len(s)-1] == '/' {
			return matchPattern(actual, s[1:len(s)-1])
		}
	}
	if !equal(actual, want, true) {
		return fmt.Sprintf("want %s, got %s", toJSON(want), toJSON(actual))
	}
	return ""
}

func matchPattern(actual any, pattern string) string {
	text, ok := actual.(string)
	if !ok {
		return fmt.Sprintf("want a string that matches /%s/, got %s", pattern, toJSON(actual))
	}
	p, err := javaPattern(pattern, true)
	if err != nil {
		return err.Error()
	}
	if !p.MatchString(text) {
		return fmt.Sprintf("does not match %s\n%s", p, text)
	}
	return ""
}

// javaPattern compiles a regular expression of Java. With comments, blanks in
// it mean nothing and # begins a comment.
func javaPattern(pattern string, comments bool) (*regexp.Regexp, error) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '\\' && i+1 < len(pattern):
			i++
			if strings.IndexByte("`'\"/<>=!@%&~,;: #", pattern[i]) >= 0 { // Go does not know these escapes
				b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
				continue
			}
			b.WriteByte(c)
			b.WriteByte(pattern[i])
		case comments && strings.IndexByte(" \t\r\n", c) >= 0:
		case comments && c == '#':
			for i+1 < len(pattern) && pattern[i+1] != '\n' {
				i++
			}
		case c == '$': // in Java also in front of a last line break
			b.WriteString(`(?:\n?\z)`)
		default:
			b.WriteByte(c)
		}
	}
	p, err := regexp.Compile(b.String())
	if err != nil {
		return nil, fmt.Errorf("the pattern of the test cannot be used: %w", err)
	}
	return p, nil
}

// equal compares as Java does: at the top 1 equals 1.0, below it does not.
func equal(a, b any, top bool) bool {
	switch b := b.(type) {
	case *object:
		o, ok := a.(*object)
		if !ok || len(o.keys) != len(b.keys) {
			return false
		}
		for _, k := range b.keys {
			v, ok := o.values[k]
			if !ok || !equal(v, b.values[k], false) {
				return false
			}
		}
		return true
	case []any:
		l, ok := a.([]any)
		if !ok || len(l) != len(b) {
			return false
		}
		for i := range b {
			if !equal(l[i], b[i], false) {
				return false
			}
		}
		return true
	case json.Number:
		n, ok := a.(json.Number)
		if !ok || !top && isFraction(n) != isFraction(b) {
			return false
		}
		return compareNumbers(n, b) == 0
	}
	return a == b // nil, bool, string: all comparable, and of different types not equal
}

func isFraction(n json.Number) bool { return strings.ContainsAny(n.String(), ".eE") }

// compareNumbers compares whole numbers exactly, others as doubles.
func compareNumbers(a, b json.Number) int {
	if !isFraction(a) && !isFraction(b) {
		x, okx := new(big.Int).SetString(a.String(), 10)
		y, oky := new(big.Int).SetString(b.String(), 10)
		if okx && oky {
			return x.Cmp(y)
		}
	}
	x, _ := a.Float64()
	y, _ := b.Float64()
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func truth(actual any, want bool) string {
	is := actual != nil
	if is {
		switch s := javaText(actual); {
		case s == "", s == "0", strings.EqualFold(s, "false"):
			is = false
		}
	}
	if is != want {
		return fmt.Sprintf("want a %t value, got %s", want, toJSON(actual))
	}
	return ""
}

func length(actual, want any) string {
	n := -1
	switch a := actual.(type) {
	case string:
		n = len([]rune(a))
	case []any:
		n = len(a)
	case *object:
		n = len(a.keys)
	}
	if w, ok := want.(json.Number); !ok || w.String() != fmt.Sprint(n) {
		if s, ok := want.(string); !ok || s != fmt.Sprint(n) {
			return fmt.Sprintf("want length %s, got %d: %s", toJSON(want), n, toJSON(actual))
		}
	}
	return ""
}

// contains wants an element in a list that has at least what is asked for.
func contains(actual, want any) string {
	list, ok := actual.([]any)
	if ok {
		for _, e := range list {
			if holds(e, want) {
				return ""
			}
		}
	}
	return fmt.Sprintf("want an element %s, got %s", toJSON(want), toJSON(actual))
}

func holds(e, want any) bool {
	w, ok := want.(*object)
	if !ok {
		return equal(e, want, true)
	}
	o, ok := e.(*object)
	if !ok {
		return false
	}
	for _, k := range w.keys {
		if v, ok := o.values[k]; !ok || !equal(v, w.values[k], true) {
			return false
		}
	}
	return true
}

func compare(actual, want any, sign string, good func(int) bool) string {
	a, aok := actual.(json.Number)
	w, wok := want.(json.Number)
	if aok && wok && good(compareNumbers(a, w)) {
		return ""
	}
	if x, ok := actual.(string); ok {
		if y, ok := want.(string); ok && good(strings.Compare(x, y)) {
			return ""
		}
	}
	return fmt.Sprintf("want %s %s, got %s", sign, toJSON(want), toJSON(actual))
}
