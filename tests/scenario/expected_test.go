package scenario

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed expected.txt
var expectedText string

// An expectation says that a step is known to differ on some pairs, and why. In
// expected.txt it is a line
//
//	5->8 6->8 | subject/step | row of docs/differences.md, module or - | reason
//
// With "module" the cluster that stands for the major in the tests lacks the module
// that it takes.
type expectation struct {
	line   int
	row    string
	reason string
}

const noModule = "module"

// readExpected returns the expectations by pair and step.
func readExpected(subjects []*subject) (map[string]expectation, error) {
	known := map[string]bool{}
	for _, s := range subjects {
		for _, st := range s.steps {
			known[st.String()] = true
		}
	}
	all := map[string]expectation{}
	for i, line := range strings.Split(expectedText, "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		parts := strings.SplitN(line, "|", 4)
		if len(parts) != 4 {
			return nil, fmt.Errorf("expected.txt:%d: not pairs | step | row | reason", i+1)
		}
		for k := range parts {
			parts[k] = strings.TrimSpace(parts[k])
		}
		if !known[parts[1]] {
			return nil, fmt.Errorf("expected.txt:%d: there is no step %q", i+1, parts[1])
		}
		if parts[2] == "" || parts[3] == "" {
			return nil, fmt.Errorf("expected.txt:%d: the row or the reason is missing", i+1)
		}
		for _, pair := range strings.Fields(parts[0]) {
			key := pair + " " + parts[1]
			if o, ok := all[key]; ok {
				return nil, fmt.Errorf("expected.txt:%d: %s stands in line %d already", i+1, key, o.line)
			}
			all[key] = expectation{i + 1, parts[2], parts[3]}
		}
	}
	return all, nil
}
