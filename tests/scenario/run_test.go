package scenario

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"time"

	"github.com/tidwall/gjson"
)

// An answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// A runner sends steps to one address and remembers their variables.
type runner struct {
	base      string
	client    *http.Client
	variables map[string]string
}

func newRunner(base string) *runner {
	return &runner{base, &http.Client{Timeout: 2 * time.Minute}, map[string]string{}}
}

var variable = regexp.MustCompile(`\$\{(\w+)\}`)

func (r *runner) fill(s string) string {
	return variable.ReplaceAllStringFunc(s, func(v string) string { return r.variables[v[2:len(v)-1]] })
}

// do sends one request as a client of its dialect would.
func (r *runner) do(ctx context.Context, q *request) (*answer, error) {
	body := []byte(r.fill(q.body))
	req, err := http.NewRequestWithContext(ctx, q.method, r.base+r.fill(q.target), nil)
	if err != nil {
		return nil, err
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
		if isLines(q.target) {
			req.Header.Set("Content-Type", "application/x-ndjson")
		}
	}
	for k, v := range q.header {
		if v[0] == "-" {
			req.Header.Del(k)
			continue
		}
		req.Header[k] = v
	}
	if req.Header.Get("Content-Encoding") == "gzip" {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(body)
		_ = z.Close()
		body = b.Bytes()
	}
	if len(body) > 0 {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	res, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: reading the answer: %w", q.method, q.target, err)
	}
	for _, c := range q.captures {
		r.variables[c[0]] = gjson.GetBytes(got, c[1]).String()
	}
	return &answer{res.StatusCode, res.Header, got}, nil
}

// run sends all steps of a subject that the dialect has.
func (r *runner) run(ctx context.Context, s *subject, dialect int) map[*step]*answer {
	answers := map[*step]*answer{}
	for _, st := range s.steps {
		q := st.requests[dialect]
		if q == nil {
			continue
		}
		a, err := r.do(ctx, q)
		if err != nil {
			a = &answer{status: -1, header: http.Header{}, body: []byte(err.Error())}
		}
		answers[st] = a
	}
	return answers
}

// wipe removes what a run has left behind.
func wipe(ctx context.Context, base string) error {
	r := newRunner(base)
	for _, q := range []request{
		{method: "DELETE", target: "/_search/scroll/_all"},
		{method: "DELETE", target: "/*?expand_wildcards=all"},
		{method: "DELETE", target: "/_template/*"},
		{method: "DELETE", target: "/_index_template/*"},
	} {
		a, err := r.do(ctx, &q)
		if err != nil {
			return err
		}
		if a.status >= 500 {
			return fmt.Errorf("%s %s: %d %s", q.method, q.target, a.status, a.body)
		}
	}
	return nil
}
