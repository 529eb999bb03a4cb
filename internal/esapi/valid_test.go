package esapi

import (
	"strings"
	"testing"
)

// A body of brackets must not take the process down, whatever it is sent to.
func TestValidJSONHasABound(t *testing.T) {
	nested := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	brackets := strings.Repeat("[", 2*maxNesting)
	for body, want := range map[string]bool{
		`{"a":[1,"x"]}`:                          true,
		`{"a":`:                                  false,
		nested(maxNesting):                       true,
		nested(maxNesting + 1):                   false,
		strings.Repeat("[", 8<<20):               false, // a crash without a bound
		`["\"` + brackets + `"]`:                 true,
		"[" + strings.Repeat("[],", 5000) + "1]": true,
	} {
		if got := ValidJSON([]byte(body)); got != want {
			t.Errorf("%.20s… of %d bytes: %v, want %v", body, len(body), got, want)
		}
	}
}

// Of YAML each node takes memory, however short it is written.
func TestYAMLHasABound(t *testing.T) {
	if _, err := ToJSON([]byte("["+strings.Repeat("1,", 4<<20)+"1]"), YAML, false, 100<<20); err == nil || !strings.Contains(err.Error(), "send it as JSON") {
		t.Errorf("error %v", err)
	}
}
