package catalogue_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

func names(changes []*translate.Change) (all []string) {
	for _, c := range changes {
		all = append(all, c.Name)
	}
	slices.Sort(all)
	return all
}

// TestFiredIsToldAtTheEnd: what only the end of a large answer needs is told of,
// once, however the answer is read.
func TestFiredIsToldAtTheEnd(t *testing.T) {
	hit := `{"_index":"books","_id":"1","_score":1.0,"_source":{"title":"Dune"}}`
	last := `{"_index":"books","_id":"2","_score":1.0,"_ignored":["year"],"_source":{"title":"Emma"}}`
	search := `{"aggs":{"years":{"terms":{"field":"year","order":{"_term":"asc"}}}}}`
	for _, c := range []struct {
		name    string
		count   int
		read    func(a *esapi.Response) error
		partial bool
	}{
		{"small", 1, func(a *esapi.Response) error { _, err := io.ReadAll(a.Body); return err }, false},
		{"written", 5000, func(a *esapi.Response) error { _, err := a.Body.(io.WriterTo).WriteTo(io.Discard); return err }, false},
		{"read", 5000, func(a *esapi.Response) error { _, err := io.ReadAll(a.Body); return err }, false},
		{"given up", 5000, func(a *esapi.Response) error { _, err := io.CopyN(io.Discard, a.Body, 10); return err }, true},
		{"not read", 5000, func(*esapi.Response) error { return nil }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := `{"took":1,"hits":{"total":{"value":1,"relation":"eq"},"max_score":1.0,"hits":[` + strings.Repeat(hit+",", c.count) + last + `]}}`
			stub := &stubCluster{t: t, answers: []part{{head: "200", body: body}}}
			s := translate.NewSender(esapi.V(5, 6), esapi.V(8, 7), newFakeFacts(), stub)
			var told []translate.Fired
			s.OnFired = func(f translate.Fired) { told = append(told, f) }
			a, err := s.Send(context.Background(), esapi.NewRequest("POST", "/books/_search", []byte(search)))
			if err != nil {
				t.Fatal(err)
			}
			if c.count > 1 && len(told) > 0 {
				t.Error("told before the answer has come to its end")
			}
			if err := c.read(a); err != nil {
				t.Fatal(err)
			}
			_ = a.Body.Close()
			if len(told) != 1 {
				t.Fatalf("told %d times", len(told))
			}
			request, answer := names(told[0].Request), names(told[0].Answer)
			if !slices.Contains(request, "TermsOrderBecameKey") || slices.Contains(answer, "TermsOrderBecameKey") {
				t.Errorf("request %v, answer %v", request, answer)
			}
			if got := slices.Contains(answer, "IgnoredFieldsAppearedInHits"); got == c.partial {
				t.Errorf("the change at the end of the answer: %v in %v", got, answer)
			}
		})
	}
}

// TestFiredTellsRefusals: those of the translation, not those of what is behind.
func TestFiredTellsRefusals(t *testing.T) {
	below := senderFunc(func(context.Context, *esapi.Request) (*esapi.Response, error) {
		return nil, esapi.Unsupported("not while a second cluster is configured")
	})
	for _, c := range []struct{ body, want string }{
		{`{"query":{"template":{"inline":"x"}}}`, "template"},
		{`{"query":{"match_all":{}}}`, ""},
	} {
		s := translate.NewSender(esapi.V(5, 6), esapi.V(8, 7), newFakeFacts(), below)
		var told []translate.Fired
		s.OnFired = func(f translate.Fired) { told = append(told, f) }
		_, err := s.Send(context.Background(), esapi.NewRequest("POST", "/books/_search", []byte(c.body)))
		if own := new(esapi.Error); !errors.As(err, &own) || own.Type != esapi.UnsupportedType {
			t.Fatalf("%s: %v", c.body, err)
		}
		if len(told) != 1 || (told[0].Refused == "") != (c.want == "") || !strings.Contains(told[0].Refused, c.want) {
			t.Errorf("%s: told %+v", c.body, told)
		}
	}
}

type senderFunc func(context.Context, *esapi.Request) (*esapi.Response, error)

func (f senderFunc) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	return f(ctx, r)
}

// TestTry translates without sending or learning, and shows what was changed.
func TestTry(t *testing.T) {
	r := esapi.NewRequest("POST", "/books/book/_search?_source_include=title", []byte(`{"aggs":{"years":{"terms":{"field":"year","order":{"_term":"asc"}}}}}`))
	trial := translate.Try(context.Background(), esapi.V(5, 6), esapi.V(8, 7), newFakeFacts(), r)
	if trial.Err != nil {
		t.Fatal(trial.Err)
	}
	for _, want := range []string{"TermsOrderBecameKey", "TypesWereHiddenBehindDoc", "SourceIncludeBecamePlural"} {
		if !slices.Contains(names(trial.Changes), want) {
			t.Errorf("%s is not among %v", want, names(trial.Changes))
		}
	}
	if trial.Sent.Path != "/books/_search" || !trial.Sent.Params.Has("_source_includes") {
		t.Errorf("would send %s %+v", trial.Sent.Path, trial.Sent.Params)
	}
	at := slices.IndexFunc(trial.Touches, func(t translate.Touch) bool { return t.Change.ID == "AGG-01" })
	if at < 0 {
		t.Fatal("the touched node is not told")
	}
	if touch := trial.Touches[at]; touch.At != translate.Aggregation("terms") ||
		string(touch.Was) != `{"field":"year","order":{"_term":"asc"}}` || string(touch.Becomes) != `{"field":"year","order":{"_key":"asc"}}` {
		t.Errorf("%s: %s becomes %s", touch.At, touch.Was, touch.Becomes)
	}

	trial = translate.Try(context.Background(), esapi.V(5, 6), esapi.V(8, 7), newFakeFacts(),
		esapi.NewRequest("POST", "/books/_search", []byte(`{"query":{"template":{"inline":"x"}}}`)))
	if trial.Refused == "" || len(trial.Changes) == 0 {
		t.Errorf("a refusal is told as %+v", trial)
	}
}
