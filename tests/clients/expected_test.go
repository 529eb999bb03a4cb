package clients

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed expected.txt
var expectedText string

// An expectation says that a step is known to differ, and why. In expected.txt it
// is a line
//
//	5->8 6->8 | client ... or * | step | reason
type expectation struct {
	line    int
	pairs   []string
	clients []string // none: all of them
	step    string
	reason  string
}

func readExpected() (all []*expectation, err error) {
	for i, text := range strings.Split(expectedText, "\n") {
		if text = strings.TrimSpace(text); text == "" || text[0] == '#' {
			continue
		}
		parts := strings.SplitN(text, " | ", 4)
		if len(parts) != 4 {
			return nil, fmt.Errorf("expected.txt:%d: not pairs | clients | step | reason", i+1)
		}
		e := &expectation{line: i + 1, pairs: strings.Fields(parts[0]), clients: strings.Fields(parts[1]), step: parts[2], reason: parts[3]}
		if slices.Equal(e.clients, []string{"*"}) {
			e.clients = nil
		}
		for _, name := range e.clients {
			if !slices.ContainsFunc(clients, func(c client) bool { return c.name == name }) {
				return nil, fmt.Errorf("expected.txt:%d: there is no client %s", i+1, name)
			}
		}
		all = append(all, e)
	}
	return all, nil
}

// find returns what is expected of a step, or nil.
func find(all []*expectation, client, pair, step string) *expectation {
	for _, e := range all {
		if e.step == step && slices.Contains(e.pairs, pair) && (e.clients == nil || slices.Contains(e.clients, client)) {
			return e
		}
	}
	return nil
}
