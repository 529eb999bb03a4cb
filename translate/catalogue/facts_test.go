package catalogue_test

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/esperanto-es/esperanto/translate"
)

// fakeFacts are the facts that a golden states.
type fakeFacts struct {
	indices map[string]translate.IndexFacts
	aliases map[string][]string
	learned map[string]string
}

func newFakeFacts() *fakeFacts {
	return &fakeFacts{map[string]translate.IndexFacts{}, map[string][]string{}, map[string]string{}}
}

func (f *fakeFacts) parse(text string) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[1] == "->" {
			f.aliases[fields[0]] = append(f.aliases[fields[0]], fields[2])
			continue
		}
		index := translate.IndexFacts{Name: fields[0], Fields: map[string]translate.Field{}}
		if len(fields) > 1 && fields[1] != "-" {
			index.Type = fields[1]
		}
		for _, field := range fields[min(2, len(fields)):] {
			parts := strings.SplitN(field, ":", 3)
			parts = append(parts, "")
			index.Fields[parts[0]] = translate.Field{Type: parts[1], Format: parts[2]}
		}
		f.indices[index.Name] = index
	}
}

func (f *fakeFacts) Index(_ context.Context, name string) (translate.IndexFacts, bool, error) {
	if a := f.aliases[name]; len(a) == 1 {
		name = a[0]
	}
	index, ok := f.indices[name]
	return index, ok, nil
}

func (f *fakeFacts) Expand(_ context.Context, expression string) ([]string, error) {
	var names []string
	for _, e := range strings.Split(expression, ",") {
		if e == "" || e == "_all" {
			e = "*"
		}
		names = append(names, f.aliases[e]...)
		for name := range f.indices {
			if ok, _ := path.Match(e, name); ok {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func (f *fakeFacts) Learn(index, mappingType string) { f.learned[index] = mappingType }
