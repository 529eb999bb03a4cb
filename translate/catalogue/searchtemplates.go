package catalogue

import (
	"bytes"
	"context"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Search templates.

func init() {
	translate.Register(
		&Change{
			ID: "TPL-01", Name: "TemplatesTakeSource", Since: V(5, 6), Removed: V(6, 0),
			Doc: `A search template's text stands under "source"; it was "inline" or "template".`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.TemplatedSearch, func(_ *Exchange, n *Node) error {
				n.Rename("inline", "source")
				n.Rename("template", "source")
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{rename(translate.TemplatedSearch, "source", "inline")}},
		},
		&Change{
			ID: "TPL-01", Name: "TemplateFilesWereRemoved", Since: V(6, 0),
			Doc:       "Search templates cannot be read from files of the nodes.",
			OldClient: Direction{Fidelity: translate.Refused, Loses: "templates in files", Request: []Rule{refuseKeys(translate.TemplatedSearch, "file")}},
			NewClient: nothing,
		},
		&Change{
			ID: "TPL-02", Name: "TemplateEndpointsWereRemoved", Since: V(6, 0),
			Doc:       "Search templates are stored as scripts in the language mustache; /_search/template/{id} is gone.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, []string{"put_template", "delete_template", "get_template"}, storedTemplate)}},
			NewClient: nothing,
		},
	)
	// What a template renders is a search in the client's dialect. Each of these
	// boundaries may need it translated; one does it for all.
	for _, v := range []Version{V(6, 0), V(7, 0), V(8, 0)} {
		render := Direction{Fidelity: translate.Exact, Loses: "searches by template take a request more, those of an msearch each",
			Request: []Rule{onAPIs(translate.RequestHead, []string{"search_template", "msearch_template"}, renderHere)},
			Response: []Rule{at(translate.SearchAnswer, func(x *Exchange, n *Node) error {
				if x.Asked.API == "msearch_template" { // which is sent as an msearch
					n.Drop("status")
				}
				return nil
			})}}
		translate.Register(&Change{
			ID: "TPL-05", Name: "SearchesInTemplatesChangedIn" + itoa(v.Major), Since: v,
			Doc:       "What a search template renders is a search like any other, with the same differences.",
			OldClient: render, NewClient: render,
		})
	}
}

// storedTemplate sends the stored templates of 5.x as scripts.
func storedTemplate(x *Exchange, _ *Node) error {
	switch x.Asked.API {
	case "put_template":
		x.Endpoint.API, x.Endpoint.Method = "put_script", "PUT"
		if body := storedScriptBody(x.RequestBody, "mustache"); body != "" {
			x.RequestBody = []byte(body)
		}
	case "delete_template":
		x.Endpoint.API = "delete_script"
	case "get_template":
		x.Endpoint.API = "get_script"
		x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
			a, body, err := sendWhole(ctx, r, next)
			if err != nil {
				return nil, err
			}
			text := gjson.GetBytes(body, "script.source")
			if !text.Exists() {
				return withBody(a, []byte(`{"_id":`+translate.Quote(x.Asked.ID)+`,"found":false,"lang":"mustache"}`)), nil
			}
			return withBody(a, []byte(`{"_id":`+translate.Quote(x.Asked.ID)+`,"lang":"mustache","found":true,"template":`+text.Raw+`}`)), nil
		})
	default:
		return nil
	}
	x.Edited()
	return nil
}

const renderedNote = "the template is rendered here"

// renderHere lets the cluster render a template, translates the search that
// comes out, and sends that.
func renderHere(x *Exchange, _ *Node) error {
	if x.Noted(renderedNote) != nil {
		return nil
	}
	switch x.Asked.API {
	case "search_template":
		x.Note(renderedNote, true)
	case "msearch_template":
		x.Note(renderedNote, true)
		x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
			return renderEach(ctx, x, r, next)
		})
		return nil
	default:
		return nil
	}
	x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		render := &esapi.Request{Method: "POST", Path: "/_render/template", Header: r.Header, Body: r.Body}
		a, body, err := sendWhole(ctx, render, next)
		if err != nil || a.Status >= 300 {
			return a, err
		}
		search := gjson.GetBytes(body, "template_output")
		if !search.IsObject() {
			return a, nil
		}
		translated, err := x.TranslateRequest(translate.SearchBody, []byte(search.Raw))
		if err != nil {
			return nil, err
		}
		given := gjson.ParseBytes(r.Body)
		if given.Get("explain").Bool() {
			translated = withMember(translated, "explain")
		}
		if given.Get("profile").Bool() {
			translated = withMember(translated, "profile")
		}
		endpoint := x.Endpoint
		endpoint.API, endpoint.Method = "search", "POST"
		sent := *r
		sent.Body = bytes.TrimSpace(translated)
		var ok bool
		if sent.Method, sent.Path, ok = endpoint.RequestFor(x.Cluster); !ok {
			return nil, x.Refuse("a search by template")
		}
		return next.Send(ctx, &sent)
	})
	return nil
}

// withMember sets a member of a search to true.
func withMember(search []byte, key string) []byte {
	n := translate.NewNode(string(search))
	n.Set(key, "true")
	return []byte(n.Raw())
}
