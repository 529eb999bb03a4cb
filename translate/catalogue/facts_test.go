package catalogue_test

import (
	"cmp"
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
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
			types := strings.Split(fields[1], ",") // "blog,comment<blog": comment is a child of blog
			for i, t := range types {
				t, parent, isChild := strings.Cut(t, "<")
				if own, apart := strings.CutPrefix(t, "+"); apart {
					index.Apart = append(index.Apart, own)
					f.addApart(index.Name, own)
				} else if i == 0 {
					index.Type = t
				} else {
					index.Further = append(index.Further, t)
				}
				if isChild {
					index.Parents = map[string]string{t: parent}
				}
			}
		}
		for _, field := range fields[min(2, len(fields)):] {
			parts := strings.SplitN(field, ":", 3)
			parts = append(parts, "")
			if parts[0] == "in_all" {
				if index.InAll == nil {
					index.InAll = map[string]bool{}
				}
				index.InAll[parts[1]] = parts[2] == "true"
				continue
			}
			index.Fields[parts[0]] = translate.Field{Type: parts[1], Format: parts[2]}
		}
		f.indices[index.Name] = index
	}
}

func (f *fakeFacts) addApart(index, mappingType string) {
	name := translate.ApartIndex(index, mappingType)
	f.indices[name] = translate.IndexFacts{Name: name, Type: mappingType, PartOf: index, Fields: map[string]translate.Field{}}
}

func (f *fakeFacts) Index(_ context.Context, name string) (translate.IndexFacts, bool, error) {
	var of []string
	for _, member := range f.aliases[name] {
		of = append(of, cmp.Or(f.indices[member].PartOf, member))
	}
	if slices.Sort(of); of != nil {
		name = of[0]
	}
	index, ok := f.indices[name]
	if of = slices.Compact(of); len(of) > 1 {
		index.AliasOf = of
	}
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

func (f *fakeFacts) Learn(_ context.Context, index, mappingType string) error {
	f.learned[index] = mappingType
	return nil
}

func (f *fakeFacts) AddType(ctx context.Context, name, mappingType string, how translate.TypesSetting) (translate.IndexFacts, bool, error) {
	index, ok, err := f.Index(ctx, name)
	if !ok {
		index.Name = name
	}
	index = index.WithType(mappingType, how)
	f.indices[index.Name] = index
	if slices.Contains(index.Apart, mappingType) {
		f.addApart(index.Name, mappingType)
	}
	return index, true, err
}

// TestTriesAddNoTypes: what is only tried leaves the cluster as it is.
func TestTriesAddNoTypes(t *testing.T) {
	facts := newFakeFacts()
	facts.parse("shop book\n")
	r := esapi.NewRequest("PUT", "/shop/order/1", []byte(`{"n":1}`))
	trial := translate.Try(translate.WithTypes(t.Context(), translate.MergeTypes), esapi.V(5, 6), esapi.V(8, 7), facts, r)
	if trial.Err != nil || trial.Sent.Path != "/shop/_doc/order%231" {
		t.Errorf("sent is %+v, the error %v", trial.Sent, trial.Err)
	}
	trial = translate.Try(translate.WithTypes(t.Context(), translate.SplitTypes), esapi.V(5, 6), esapi.V(8, 7), facts, r)
	if trial.Err != nil || trial.Sent.Path != "/shop-order/_doc/1" {
		t.Errorf("sent is %+v, the error %v", trial.Sent, trial.Err)
	}
	if f, _, _ := facts.Index(t.Context(), "shop"); len(f.Further)+len(f.Apart) > 0 {
		t.Errorf("the index has got the types %q, %q", f.Further, f.Apart)
	}
}

// staleFacts know nothing of further types until they forget what they know.
type staleFacts struct {
	*fakeFacts
	forgot bool
}

func (f *staleFacts) Index(ctx context.Context, name string) (translate.IndexFacts, bool, error) {
	index, ok, err := f.fakeFacts.Index(ctx, name)
	if !f.forgot {
		index.Apart = nil
	}
	return index, ok, err
}

func (f *staleFacts) ForgetAll()       { f.forgot = true }
func (f *staleFacts) Forget(...string) {}

// TestDeletionsAskAnew: what deletes reaches the types that another gateway has
// added since.
func TestDeletionsAskAnew(t *testing.T) {
	for request, want := range map[string]string{
		"DELETE /shop":                "/shop,shop-order",
		"POST /shop/_delete_by_query": "/shop,shop-order/_delete_by_query",
	} {
		facts := &staleFacts{fakeFacts: newFakeFacts()}
		facts.parse("shop book,+order\n")
		stub := &stubCluster{t: t}
		method, target, _ := strings.Cut(request, " ")
		body := []byte(nil)
		if method == "POST" {
			body = []byte(`{"query":{"match_all":{}}}`)
		}
		_, err := translate.NewSender(esapi.V(5, 6), esapi.V(8, 7), facts, stub).Send(translate.WithTypes(t.Context(), translate.SplitTypes), esapi.NewRequest(method, target, body))
		if err != nil || len(stub.sent) == 0 || !strings.HasPrefix(stub.sent[0].head, method+" "+want) {
			t.Errorf("%s: sent %v, %v", request, stub.sent, err)
		}
	}
}

// brokenFacts are those of a cluster that cannot be asked.
type brokenFacts struct{ *fakeFacts }

func (brokenFacts) Index(context.Context, string) (translate.IndexFacts, bool, error) {
	return translate.IndexFacts{}, false, errNotAsked
}

func (brokenFacts) Expand(context.Context, string) ([]string, error) { return nil, errNotAsked }

func (brokenFacts) AddType(context.Context, string, string, translate.TypesSetting) (translate.IndexFacts, bool, error) {
	return translate.IndexFacts{}, false, errNotAsked
}

var errNotAsked = errors.New("the cluster cannot be asked")

// TestNothingIsAskedOfNoIndex: an item that names no index is the cluster's to
// refuse, in its own words.
func TestNothingIsAskedOfNoIndex(t *testing.T) {
	for _, body := range []string{"{\"create\":{}}\n{\"n\":1}\n", "{\"index\":{\"_type\":\"a\",\"_id\":\"1\"}}\n{\"n\":1}\n", "{\"index\"\n{\"n\":1}\n"} {
		stub := &stubCluster{t: t}
		r := esapi.NewRequest("POST", "/_bulk", []byte(body))
		for _, ctx := range []context.Context{t.Context(), translate.WithTypes(t.Context(), translate.MergeTypes)} {
			if _, err := translate.NewSender(esapi.V(5, 6), esapi.V(8, 7), brokenFacts{newFakeFacts()}, stub).Send(ctx, r); err != nil {
				t.Errorf("%q: %v", body, err)
			}
		}
	}
}

// TestUnknownFactsFailRequests: what depends on a mapping is not guessed, for a
// guess could reach other documents, or make a second type.
func TestUnknownFactsFailRequests(t *testing.T) {
	for _, c := range []struct{ client, cluster, request string }{
		{"8.7.1", "5.6.16", `PUT /books/_doc/1 {"title":"Dune"}`},
		{"8.7.1", "5.6.16", "POST /_bulk {\"index\":{\"_index\":\"books\",\"_id\":\"1\"}}\n{\"title\":\"Dune\"}\n"},
		{"8.7.1", "5.6.16", `PUT /books/_mapping {"properties":{"title":{"type":"text"}}}`},
		{"7.17.28", "5.6.16", `DELETE /logs-*`},
		{"5.6.16", "8.7.1", `DELETE /logs-*`},
		{"5.6.16", "8.7.1", `DELETE /books/book/1`},
		{"5.6.16", "8.7.1", "POST /_bulk {\"delete\":{\"_index\":\"books\",\"_type\":\"book\",\"_id\":\"1\"}}\n"},
		{"5.6.16", "8.7.1", `POST /books/book/_delete_by_query {"query":{"match_all":{}}}`},
		{"5.6.16", "8.7.1", `POST /books/_delete_by_query {"query":{"term":{"_type":"book"}}}`},
		{"5.6.16", "8.7.1", `POST /books/_delete_by_query {"query":{"range":{"year":{"gte":2015}}}}`},
		{"5.6.16", "8.7.1", `POST /_reindex {"source":{"index":"books","type":"book"},"dest":{"index":"copy"}}`},
		{"5.6.16", "8.7.1", "POST /_msearch {\"index\":\"books\",\"type\":\"book\"}\n{}\n"},
	} {
		client, err1 := esapi.ParseVersion(c.client)
		cluster, err2 := esapi.ParseVersion(c.cluster)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		parts := strings.SplitN(c.request, " ", 3)
		parts = append(parts, "")
		stub := &stubCluster{t: t}
		r := esapi.NewRequest(parts[0], parts[1], []byte(parts[2]))
		_, err := translate.NewSender(client, cluster, brokenFacts{newFakeFacts()}, stub).Send(context.Background(), r)
		if !errors.Is(err, errNotAsked) || len(stub.sent) > 0 {
			t.Errorf("%s from %s to %s: %v was sent, the error is %v", c.request, c.client, c.cluster, stub.sent, err)
		}
	}
}
