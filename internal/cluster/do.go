package cluster

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// maxAnswer bounds the answers that are held in memory, in bytes.
const maxAnswer = 256 << 20

// defaultWait bounds a request whose caller has set no limit.
const defaultWait = 30 * time.Second

// Do sends a small request in the cluster's own dialect and returns the whole
// answer; target is a path with an optional query. Any status is an answer, not
// an error.
func (c *Cluster) Do(ctx context.Context, method, target string, body []byte) (status int, answer []byte, err error) {
	return c.do(ctx, method, target, body, cmp.Or(c.maxAnswer, maxAnswer))
}

// do is Do with a bound on the answer, in bytes.
func (c *Cluster) do(ctx context.Context, method, target string, body []byte, limit int64) (status int, answer []byte, err error) {
	return c.doWith(ctx, method, target, body, limit, nil)
}

// doWith is do with a header that says who asks.
func (c *Cluster) doWith(ctx context.Context, method, target string, body []byte, limit int64, client http.Header) (status int, answer []byte, err error) {
	r := esapi.NewRequest(method, target, body)
	maps.Copy(r.Header, client)
	if strings.HasSuffix(r.Path, "/_bulk") {
		r.Header["Content-Type"] = []string{"application/x-ndjson"}
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultWait)
		defer cancel()
	}
	res, err := c.Send(ctx, r)
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %s %s: %w", c.name, method, r.Path, err)
	}
	answer, err = ReadBody(res, limit)
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %s %s: reading the answer: %w", c.name, method, r.Path, err)
	}
	return res.Status, answer, nil
}

// ErrTooLarge says that an answer is longer than can be held in memory.
var ErrTooLarge = errors.New("the answer is larger than the gateway holds in memory")

// ReadBody reads an answer's body to its end, at most limit bytes, and closes
// it.
func ReadBody(res *esapi.Response, limit int64) ([]byte, error) {
	if res.Body == nil {
		return nil, nil
	}
	defer res.Body.Close()
	var body bytes.Buffer
	if n, _ := strconv.Atoi(res.Header.Get("Content-Length")); n > 0 {
		body.Grow(min(n, readAtOnce) + bytes.MinRead)
	}
	if _, err := body.ReadFrom(io.LimitReader(res.Body, limit+1)); err != nil {
		return nil, err
	}
	if int64(body.Len()) > limit {
		return nil, ErrTooLarge
	}
	return body.Bytes(), nil
}

// readAtOnce bounds the memory that is taken because an answer says that it is so long.
const readAtOnce = 1 << 20

// A StatusError is an answer of a cluster that says that something failed.
type StatusError struct {
	Cluster string
	Status  int
	Type    string // "index_not_found_exception"; "" if the body has none
	Reason  string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answers %d %s: %s", e.Cluster, e.Status, e.Type, e.Reason)
}

// Failed makes an error of an answer that is not a success, else nil.
func (c *Cluster) Failed(status int, answer []byte) error {
	if status < 400 && status > 0 {
		return nil
	}
	e := &StatusError{Cluster: c.name, Status: status}
	e.Type, e.Reason = reason(gjson.GetBytes(answer, "error"))
	if e.Reason == "" {
		e.Reason = clip(string(answer), 300)
	}
	return e
}

// NoIndex reports whether an answer says that there is no such index. What
// stands in front of a cluster may answer 404 for reasons of its own; that says
// nothing about indices.
func NoIndex(status int, answer []byte) bool {
	return status == http.StatusNotFound && gjson.GetBytes(answer, "error.type").String() == "index_not_found_exception"
}

// reason reads the error object of an answer or of an item. The innermost
// cause, where there is one, says more than the outer reason.
func reason(e gjson.Result) (typ, text string) {
	if e.Type == gjson.String {
		return "", clip(e.Str, 500)
	}
	typ, text = e.Get("type").String(), e.Get("reason").String()
	for cause := e.Get("caused_by"); cause.IsObject(); cause = cause.Get("caused_by") {
		if r := cause.Get("reason").String(); r != "" {
			text += ": " + r
		}
	}
	return typ, clip(text, 500)
}

func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

// Path makes a path of segments, each percent-encoded.
func Path(segments ...string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}
