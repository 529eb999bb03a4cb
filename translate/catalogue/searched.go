package catalogue

import (
	"strings"

	"github.com/esperanto-es/esperanto/translate"
)

// What is known of the indices that a request searches.

func isOneIndex(index string) bool {
	return index != "" && index != "_all" && !strings.ContainsAny(index, ",*<")
}

// isDate reports whether a field is a date in an index that is searched.
func isDate(x *Exchange, field string) (bool, error) {
	f, _, err := fieldOf(x, field)
	return f.Type == "date" || f.Type == "date_nanos", err
}

// fieldOf finds a field in the mappings of the indices that are searched.
func fieldOf(x *Exchange, field string) (f translate.Field, ok bool, err error) {
	m, err := searchedMappings(x)
	if err != nil {
		return f, false, err
	}
	f, ok = m.field(field)
	return f, ok, nil
}

// mappings are the fields of several indices.
type mappings []map[string]translate.Field

// field finds a field in the first index that has it.
func (m mappings) field(name string) (f translate.Field, ok bool) {
	for _, fields := range m {
		if f, ok = fields[name]; ok {
			return f, true
		}
	}
	return f, false
}

// searchedMappings are those of the indices that are searched.
func searchedMappings(x *Exchange) (mappings, error) {
	if x.Facts == nil {
		return nil, nil
	}
	indices, err := searchedIndices(x)
	if err != nil {
		return nil, err
	}
	var all mappings
	for _, index := range indices {
		facts, ok, err := x.Facts.Index(x.Context(), index)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, facts.Fields)
		}
	}
	return all, nil
}

// searchedIndices are the concrete indices that are searched.
func searchedIndices(x *Exchange) ([]string, error) { return indicesOf(x, x.Searched()) }

// indicesOf are the concrete indices that an expression stands for. The cluster
// is asked once for each expression.
func indicesOf(x *Exchange, expression string) ([]string, error) {
	note := "the indices of " + expression
	if names, ok := x.Noted(note).([]string); ok {
		return names, nil
	}
	if isOneIndex(expression) {
		if f, ok, err := x.Facts.Index(x.Context(), expression); err != nil {
			return nil, err
		} else if ok && f.Name == expression {
			return []string{expression}, nil
		}
	}
	names, err := x.Facts.Expand(x.Context(), expression)
	if err != nil {
		return nil, err
	}
	x.Note(note, names)
	if g, ok := x.Facts.(translate.Gatherer); ok {
		g.Gather(x.Context(), expression, names)
	}
	return names, nil
}
