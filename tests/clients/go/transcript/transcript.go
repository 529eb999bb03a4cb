// Package transcript prints what a program's steps came to, a line of JSON each;
// see the package clients, which compares them.
package transcript

import (
	"encoding/json"
	"fmt"
	"os"
)

// A Program does steps and tells of them. Explain makes of a library's error what
// an application can read in it.
type Program struct {
	URL, Prefix string
	Explain     func(error) any
}

// New takes the address and the prefix from the command line.
func New(explain func(error) any) *Program {
	if len(os.Args) != 3 {
		fmt.Fprintf(os.Stderr, "usage: %s address prefix\n", os.Args[0])
		os.Exit(2)
	}
	return &Program{os.Args[1], os.Args[2], explain}
}

// Name is a name that no other program uses.
func (p *Program) Name(s string) string { return p.Prefix + s }

// Step tells the result of a step that the application expects to succeed.
func (p *Program) Step(name string, result any, err error) {
	if err != nil {
		tell(name, "failed", p.Explain(err))
		return
	}
	tell(name, "result", result)
}

// Fails tells the error of a step that the application expects to fail.
func (p *Program) Fails(name string, result any, err error) {
	if err == nil {
		tell(name, "failed", map[string]any{"nothing failed": result})
		return
	}
	tell(name, "result", p.Explain(err))
}

// Must ends the program if nothing more can be done without this.
func (p *Program) Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func tell(step, key string, value any) {
	line, err := json.Marshal(map[string]any{"step": step, key: value})
	if err != nil {
		line, _ = json.Marshal(map[string]any{"step": step, "failed": err.Error()})
	}
	fmt.Println(string(line))
}
