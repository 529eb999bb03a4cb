package gateway

import (
	"io"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// plainBody makes a request's body JSON, which is all that the translation and
// the capture read, and tells in which format it came. max bounds it in bytes.
func plainBody(r *esapi.Request, e esapi.Endpoint, dialect esapi.Version, max int64) (esapi.Format, error) {
	if err := plainSource(r, max); err != nil {
		return "", err
	}
	if !r.HasBody() {
		return "", nil
	}
	contentType := esapi.First(r.Header, "Content-Type")
	format := esapi.BodyFormat(contentType, r.Body, dialect)
	if format == "" || format == esapi.JSON {
		return format, nil
	}
	if r.Stream != nil {
		body, err := io.ReadAll(io.LimitReader(r.Stream, max+1))
		if err != nil {
			return "", err
		}
		if int64(len(body)) > max {
			return "", tooLarge(max)
		}
		r.Body, r.Stream, r.Length = body, nil, 0
	}
	lines := e.HasBodyNDJSON()
	body, err := esapi.ToJSON(r.Body, format, lines, int(max))
	if err != nil {
		return "", err
	}
	r.Body = body
	plain := "application/json"
	if lines {
		plain = "application/x-ndjson"
	}
	r.Header.Set("Content-Type", plain)
	return format, nil
}

// plainSource does the same for a body in the URL (HTTP-12).
func plainSource(r *esapi.Request, max int64) error {
	format := esapi.FormatOf(r.Params.Get("source_content_type"))
	if format == "" || format == esapi.JSON || r.HasBody() {
		return nil
	}
	body, err := esapi.ToJSON([]byte(r.Params.Get("source")), format, false, int(max))
	if err != nil {
		return err
	}
	r.Params.Set("source", string(body))
	r.Params.Set("source_content_type", "application/json")
	return nil
}

// takeTable lets the cluster give a table of the cat APIs as JSON where the
// client wants a format that is made of JSON.
func (x *exchange) takeTable(r *esapi.Request) {
	options, _ := esapi.OutputFrom(&r.Params, r.Header.Get("Accept"))
	if options.Format == "" {
		return // text or JSON, which the cluster prints
	}
	x.applies, x.changed, x.options = true, true, esapi.OutputOptions{Format: options.Format, PlainNames: x.dialect.Before(esapi.V(7, 0))}
	r.Params.Set("format", "json")
	r.Header.Del("Accept")
}
