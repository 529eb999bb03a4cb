package cluster

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// splitType gives a further type of an index one of its own ("types split"): the
// new index first, so that what the mapping of the known one says is there.
func (f *Facts) splitType(ctx context.Context, known Index, mappingType string) error {
	own := translate.ApartIndex(known.Name, mappingType)
	if err := checkIndexName(own, known.Name, mappingType); err != nil {
		return err
	}
	other, exists, err := f.Lookup(ctx, own)
	if err != nil {
		return err
	}
	found := exists
	if !exists {
		if err := f.createFor(ctx, known.Name, own, mappingType); err != nil {
			return err
		}
		f.ForgetAll() // someone else may have made it
		if other, exists, err = f.Lookup(ctx, own); err != nil {
			return err
		}
	}
	switch {
	case !exists:
		return esapi.Unavailable("the index [" + own + "] has been deleted as it was created; try again")
	case other.PartOf != known.Name || other.Type != mappingType:
		return notSplit(known.Name, mappingType, "there is an index or alias ["+own+"] that holds something else; rename that")
	case found:
		if err := f.checkLeftOver(ctx, known, own, mappingType); err != nil {
			return err
		}
	}
	return f.putOwn(ctx, known, translate.ApartProperty(known.Name, mappingType))
}

// checkLeftOver refuses a type's own index that has documents though the index that
// the application knows does not name the type: they are those of an index of that
// name that has been deleted. One without is just being made by another gateway.
func (f *Facts) checkLeftOver(ctx context.Context, known Index, own, mappingType string) error {
	for _, step := range []struct{ method, target string }{
		{http.MethodGet, "/_cluster/health" + Path(own) + "?wait_for_status=yellow&timeout=10s"},
		{http.MethodPost, Path(own, "_refresh")},
	} {
		status, answer, err := f.c.Do(ctx, step.method, step.target, nil)
		if err != nil {
			return err
		}
		if err := f.c.Failed(status, answer); err != nil {
			return err
		}
	}
	status, answer, err := f.c.Do(ctx, http.MethodGet, Path(own, "_count"), nil)
	if err != nil {
		return err
	}
	if err := f.c.Failed(status, answer); err != nil {
		return err
	}
	if gjson.GetBytes(answer, "_shards.failed").Int() > 0 {
		return esapi.Unavailable("the documents of [" + own + "] cannot be counted now; try again")
	}
	if gjson.GetBytes(answer, "count").Int() == 0 {
		return nil
	}
	f.ForgetAll() // documents come after the type is named: it may be by now
	now, _, err := f.Lookup(ctx, known.Name)
	if err != nil || now.HasType(mappingType) {
		return err
	}
	return notSplit(known.Name, mappingType, "an index ["+known.Name+"] that has been deleted left ["+own+"] and its documents behind; delete ["+own+"] at the cluster")
}

// checkIndexName refuses what Elasticsearch does not take as an index's name, and
// what would stand for others.
func checkIndexName(name, index, mappingType string) error {
	if strings.ContainsAny(name, "\\/*?\"<>| ,#:") || len(name) > 255 {
		return notSplit(index, mappingType, "["+name+"] cannot be an index's name")
	}
	return nil
}

func notSplit(index, mappingType, why string) error {
	return esapi.Unsupported(fmt.Sprintf("the type [%s] cannot have an index of its own beside [%s], with types split: %s", mappingType, index, why))
}

// createFor creates a type's own index, with the settings and aliases of the one
// that the application knows.
func (f *Facts) createFor(ctx context.Context, index, own, mappingType string) error {
	v, err := f.c.Version(ctx)
	if err != nil {
		return err
	}
	status, answer, err := f.c.Do(ctx, http.MethodGet, Path(index), nil)
	if err != nil {
		return err
	}
	if err := f.c.Failed(status, answer); err != nil {
		return err
	}
	// An index by another name would have come by an alias.
	model := gjson.GetBytes(answer, gjson.Escape(index))
	if alias := filterByType(model); alias != "" {
		return notSplit(index, mappingType, "its alias ["+alias+"] filters by a type; remove the alias, or use types merge")
	}
	mapping := `{"properties":{` + translate.PartOfProperty(index, mappingType) + `}}`
	if v.Major < 7 {
		mapping = `{` + translate.Quote(mappingType) + `:` + mapping + `}`
	} else {
		mapping = `{"_meta":{"esperanto":{"type":` + translate.Quote(mappingType) + `}},` + strings.TrimPrefix(mapping, "{")
	}
	body := `{"settings":` + settingsOf(model) + `,"aliases":` + aliasesOf(model) + `,"mappings":` + mapping + `}`
	status, answer, err = f.c.putAsClient(ctx, Path(own), []byte(body))
	if err == nil {
		err = forbidden(status, answer)
	}
	switch {
	case err != nil:
		return err
	case status == http.StatusBadRequest && strings.Contains(string(answer), "already_exists_exception"):
		return nil // the next look tells whose it is
	case status >= 400 && status < 500 && status != http.StatusTooManyRequests:
		_, why := reason(gjson.GetBytes(answer, "error"))
		return notSplit(index, mappingType, "the cluster refuses the index ["+own+"]: "+why)
	}
	return f.c.Failed(status, answer)
}

// ownSettings are the settings that belong to the one index alone.
var ownSettings = []string{"uuid", "version", "provided_name", "creation_date", "creation_date_string", "resize", "shrink", "history", "frozen",
	"verified_before_close", "blocks"}

func settingsOf(model gjson.Result) string {
	n := translate.NewNode(model.Get("settings.index").Raw)
	if !n.IsObject() {
		return `{}`
	}
	n.DropIf(func(name string) bool { return slices.Contains(ownSettings, name) })
	return `{"index":` + n.Raw() + `}`
}

// filterByType is an alias whose filter has been made for the types of the index
// that has it.
func filterByType(model gjson.Result) (name string) {
	model.Get("aliases").ForEach(func(alias, a gjson.Result) bool {
		if strings.Contains(a.Get("filter").Raw, `"`+translate.SentField+`"`) {
			name = alias.String()
		}
		return name == ""
	})
	return name
}

// aliasesOf are the aliases of an index. One that has a write index writes to
// the one index.
func aliasesOf(model gjson.Result) string {
	var b strings.Builder
	model.Get("aliases").ForEach(func(name, alias gjson.Result) bool {
		n := translate.NewNode(alias.Raw)
		n.Drop("is_write_index")
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(translate.Quote(name.String()) + ":" + n.Raw())
		return true
	})
	return "{" + b.String() + "}"
}
