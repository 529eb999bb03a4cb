package catalogue

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// renderEach lets the cluster render the templates of an msearch, translates the
// searches that come out, and sends those that there are.
func renderEach(ctx context.Context, x *Exchange, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	var searches bytes.Buffer
	failed := map[int]string{}
	lines := esapi.NewSearchBytes(r.Body, x.Cluster)
	count := 0
	for ; ; count++ {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		search, failure, err := renderOne(ctx, x, line, next)
		if err != nil {
			return nil, err
		}
		if failure != nil {
			failed[count] = failedSearch(failure)
			continue
		}
		searches.Write(bytes.TrimSpace(line.Header))
		searches.WriteByte('\n')
		searches.Write(bytes.TrimSpace(search))
		searches.WriteByte('\n')
	}
	if count == 0 || len(failed) == count && searches.Len() == 0 {
		if count == 0 {
			return next.Send(ctx, r) // the cluster says what is wrong with it
		}
		return esapi.NewResponse(http.StatusOK, withFailed(gjson.Result{}, failed, count)), nil
	}
	endpoint := x.Endpoint
	endpoint.API, endpoint.Method = "msearch", "POST"
	sent := *r
	sent.Body = searches.Bytes()
	var ok bool
	if sent.Method, sent.Path, ok = endpoint.RequestFor(x.Cluster); !ok {
		return nil, x.Refuse("several searches by template")
	}
	if len(failed) == 0 {
		return next.Send(ctx, &sent)
	}
	a, body, err := sendWhole(ctx, &sent, next)
	if err != nil || a.Status >= 300 {
		return a, err
	}
	return withBody(a, withFailed(gjson.ParseBytes(body), failed, count)), nil
}

// renderOne makes a search of one line; failure is what it is answered with if
// that cannot be done.
func renderOne(ctx context.Context, x *Exchange, line esapi.Search, next esapi.Sender) (search []byte, failure *esapi.Error, err error) {
	a, body, err := sendWhole(ctx, esapi.NewRequest("POST", "/_render/template", bytes.Clone(line.Body)), next)
	if err != nil {
		return nil, nil, err
	}
	if a.Status >= 300 {
		return nil, esapi.ParseError(a.Status, body), nil
	}
	search, err = x.TranslateSearch(headerIndices(x, line.Header), []byte(gjson.GetBytes(body, "template_output").Raw))
	if errors.As(err, &failure) {
		return nil, failure, nil
	}
	return search, nil, err
}

// headerIndices are the indices that the header of an msearch line names.
func headerIndices(x *Exchange, header []byte) string {
	var names []string
	for _, name := range gjson.GetBytes(header, "index").Array() {
		names = append(names, name.String())
	}
	return orElse(strings.Join(names, ","), x.Endpoint.Index)
}

// failedSearch is the answer to a search that was not sent: without a status, as
// for all whose template fails.
func failedSearch(e *esapi.Error) string {
	n := translate.NewNode(string(e.JSON()))
	n.Drop("status")
	return n.Raw()
}

// withFailed puts the searches that failed into their places.
func withFailed(answer gjson.Result, failed map[int]string, count int) []byte {
	found := answer.Get("responses").Array()
	var list []string
	for i := range count {
		if f, ok := failed[i]; ok {
			list = append(list, f)
		} else if len(found) > 0 {
			list = append(list, found[0].Raw)
			found = found[1:]
		}
	}
	n := translate.NewNode(orElse(answer.Raw, `{"took":0}`))
	n.Set("responses", "["+strings.Join(list, ",")+"]")
	return []byte(n.Raw())
}
