package emulate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// maxBulk is how large a bulk becomes before the next one is begun, in bytes.
const maxBulk = 8 << 20

// write changes the documents of a page. cluster is the one that they were found
// at.
func (w *worker) write(ctx context.Context, cluster string, hits []hit) error {
	for i := range hits {
		if h := &hits[i]; h.source == "" && (w.job.kind == reindex || w.job.kind == updateByQuery && w.job.script == "") {
			return noSource(h)
		}
	}
	if len(hits) > 0 && w.job.bySeqNo() && hits[0].seqNo == "" {
		// Clusters that have no sequence numbers are said to have some, but not in
		// the pages of a scroll.
		var err error
		if cluster, hits, err = w.readAgain(ctx, hits); err != nil {
			return err
		}
	}
	for len(hits) > 0 {
		n, size := 0, 0
		for n < len(hits) && (n == 0 || size < maxBulk) {
			size += len(hits[n].source) + len(w.job.script) + 200
			n++
		}
		if err := w.bulk(ctx, cluster, hits[:n]); err != nil {
			return err
		}
		hits = hits[n:]
	}
	return nil
}

func noSource(h *hit) error {
	name := "[" + h.index + "]"
	if h.typ != "" {
		name += "[" + h.typ + "]"
	}
	return esapi.IllegalArgument(name + "[" + h.id + "] didn't store _source")
}

// bulk sends one bulk, and again what the cluster was too busy for.
func (w *worker) bulk(ctx context.Context, cluster string, hits []hit) error {
	for retry := 0; ; retry++ {
		if len(hits) == 0 || w.task.isCanceled() {
			return nil
		}
		busy, err := w.bulkOnce(ctx, cluster, hits)
		switch {
		case errors.Is(err, ErrMoved):
			if cluster, hits, err = w.readAgain(ctx, hits); err != nil {
				return err
			}
			retry--
			continue
		case err != nil && !isBusy(err):
			return err
		case err != nil:
			busy = items{hits: hits}
		}
		if len(busy.hits) == 0 {
			return nil
		}
		if retry == maxRetries {
			if err == nil {
				w.failed(busy.failures, http.StatusTooManyRequests)
			}
			return err
		}
		w.progress.change(w.slice, func(c *counts) { c.bulkRetries++ })
		if err := w.sleep(ctx, backoff(retry)); err != nil {
			return err
		}
		hits = busy.hits
	}
}

// items are documents that the cluster was too busy for.
type items struct {
	hits     []hit
	failures []string
}

func (w *worker) bulkOnce(ctx context.Context, cluster string, hits []hit) (busy items, err error) {
	params := w.job.bulk.Clone()
	if w.job.pipeline != "" {
		params.Set("pipeline", w.job.pipeline)
	}
	only := ""
	if w.job.bySeqNo() {
		only = cluster // sequence numbers are each cluster's own
	}
	var b bytes.Buffer
	for i := range hits {
		w.action(&b, &hits[i])
	}
	body, _, err := w.ask(ctx, w.job.request(http.MethodPost, "/_bulk", params, b.Bytes()), only, w.MaxPage)
	if err != nil {
		return busy, err
	}
	answers := gjson.GetBytes(body, "items").Array()
	if len(answers) != len(hits) {
		return busy, fmt.Errorf("a bulk of %d documents was answered with %d", len(hits), len(answers))
	}
	for i, answer := range answers {
		op, item := "", gjson.Result{}
		answer.ForEach(func(k, v gjson.Result) bool { op, item = k.String(), v; return false })
		if item.Get("status").Int() == http.StatusTooManyRequests {
			busy.hits = append(busy.hits, hits[i])
			busy.failures = append(busy.failures, w.failure(item))
			continue
		}
		if err := w.count(op, item, &hits[i]); err != nil {
			return busy, err
		}
	}
	return busy, nil
}

// action appends what is to be done with a document.
func (w *worker) action(b *bytes.Buffer, h *hit) {
	j := w.job
	op, index, typ, routing := "index", h.index, h.typ, h.routing
	switch {
	case j.kind == deleteByQuery:
		op = "delete"
	case j.script != "":
		op = "update"
	case j.kind == reindex:
		index, routing = j.dest.index, j.dest.route(routing)
		if j.dest.typ != "" {
			typ = j.dest.typ
		}
		if j.dest.opType == "create" {
			op = "create"
		}
	}
	fmt.Fprintf(b, `{"%s":{"_index":%s`, op, quote(index))
	if j.dialect.Before(v7) || j.dialect.Before(v8) && j.dest.typ != "" {
		b.WriteString(`,"_type":` + quote(typ))
	}
	b.WriteString(`,"_id":` + quote(h.id))
	if routing != "" {
		b.WriteString(`,"routing":` + quote(routing))
	}
	if h.parent != "" {
		b.WriteString(`,"parent":` + quote(h.parent))
	}
	switch {
	case j.kind == reindex && j.dest.versionType != "" && j.dest.versionType != "internal":
		b.WriteString(`,"version":` + h.version + `,"version_type":` + quote(j.dest.versionType))
	case j.kind == reindex:
	case j.bySeqNo():
		b.WriteString(`,"if_seq_no":` + h.seqNo + `,"if_primary_term":` + h.primaryTerm)
	default:
		b.WriteString(`,"version":` + h.version)
	}
	b.WriteString("}}\n")
	switch op {
	case "delete":
		return
	case "update":
		b.WriteString(`{"script":`)
		b.Write((&hit{source: j.script}).line())
		b.WriteByte('}')
	default:
		b.Write(h.line())
	}
	b.WriteByte('\n')
}

// route is the routing of a document that is copied.
func (d *destination) route(routing string) string {
	switch {
	case d.routing == "discard":
		return ""
	case strings.HasPrefix(d.routing, "="):
		return d.routing[1:]
	}
	return routing
}

// count notes what became of a document.
func (w *worker) count(op string, item gjson.Result, h *hit) error {
	status := int(item.Get("status").Int())
	if e := item.Get("error"); e.Exists() {
		if err := w.scriptFailed(e, h); err != nil {
			return err
		}
		conflict := status == http.StatusConflict
		if conflict {
			w.progress.change(w.slice, func(c *counts) { c.conflicts++ })
		}
		if !conflict || !w.job.proceed {
			w.failed([]string{w.failure(item)}, status)
		}
		return nil
	}
	if index := item.Get("_index").String(); index != "" && !slices.Contains(w.result.touched, index) {
		w.result.touched = append(w.result.touched, index)
	}
	w.progress.change(w.slice, func(c *counts) {
		switch what := item.Get("result").String(); {
		case what == "noop":
			c.noops++
		case op == "delete" || what == "deleted":
			c.deleted++
		case what == "created" || what == "" && status == http.StatusCreated:
			c.created++
		default:
			c.updated++
		}
	})
	return nil
}

// scriptFailed makes an error of the job of a script that failed: at
// Elasticsearch it ends the job.
func (w *worker) scriptFailed(e gjson.Result, h *hit) error {
	if w.job.script == "" {
		return nil
	}
	if e.Get("type").String() == "document_source_missing_exception" {
		return noSource(h)
	}
	cause := e.Get("caused_by")
	if e.Get("reason").String() != "failed to execute script" || !cause.IsObject() {
		return nil
	}
	status := http.StatusBadRequest
	if w.job.dialect.Before(v7) && cause.Get("type").String() == "script_exception" {
		status = http.StatusInternalServerError
	}
	root := bodyOf([]byte(cause.Raw))
	root.take("caused_by")
	all := bodyOf([]byte(cause.Raw)).rest()
	body := `{"error":{"root_cause":[` + string(root.rest()) + `],` + strings.TrimPrefix(string(all), "{") + `,"status":` + strconv.Itoa(status) + `}`
	return &answerError{status, []byte(body)}
}

// failed notes failures of documents.
func (w *worker) failed(failures []string, status int) {
	w.result.failures = append(w.result.failures, failures...)
	w.result.status = max(w.result.status, status)
}

// failure writes an item that failed as the answer to the job tells it.
func (w *worker) failure(item gjson.Result) string {
	var b strings.Builder
	b.WriteString(`{"index":` + quote(item.Get("_index").String()))
	if w.job.dialect.Before(v8) {
		typ := item.Get("_type").String()
		if typ == "" {
			typ = "_doc"
		}
		b.WriteString(`,"type":` + quote(typ))
	}
	b.WriteString(`,"id":` + quote(item.Get("_id").String()))
	cause := item.Get("error").Raw
	if cause == "" {
		cause = "null"
	}
	b.WriteString(`,"cause":` + cause + `,"status":` + strconv.FormatInt(item.Get("status").Int(), 10) + `}`)
	return b.String()
}

// readAgain is for a master that has been moved since the documents were found:
// the versions are the same there, but not the sequence numbers. It returns the
// documents that still have the version that was found, with the sequence
// numbers of the new master; the others are conflicts.
func (w *worker) readAgain(ctx context.Context, hits []hit) (cluster string, same []hit, err error) {
	var b strings.Builder
	b.WriteString(`{"docs":[`)
	for i := range hits {
		h := &hits[i]
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"_index":` + quote(h.index))
		if w.job.dialect.Before(v7) {
			b.WriteString(`,"_type":` + quote(h.typ))
		}
		b.WriteString(`,"_id":` + quote(h.id))
		if h.routing != "" {
			b.WriteString(`,"routing":` + quote(h.routing))
		}
		b.WriteString(`,"_source":false}`)
	}
	b.WriteString(`]}`)
	var body []byte
	for retry := 0; ; retry++ {
		if body, cluster, err = w.ask(ctx, w.job.request(http.MethodPost, "/_mget", esapi.Params{}, []byte(b.String())), "", w.MaxPage); err == nil {
			break
		}
		if !isBusy(err) || retry == maxRetries {
			return "", nil, err
		}
		if err := w.sleep(ctx, backoff(retry)); err != nil {
			return "", nil, err
		}
	}
	docs := gjson.GetBytes(body, "docs").Array()
	if len(docs) != len(hits) {
		return "", nil, fmt.Errorf("%d documents were answered with %d", len(hits), len(docs))
	}
	for i, d := range docs {
		h := hits[i]
		if d.Get("found").Bool() && d.Get("_version").Raw == h.version {
			h.seqNo, h.primaryTerm = d.Get("_seq_no").Raw, d.Get("_primary_term").Raw
			same = append(same, h)
			continue
		}
		if e := d.Get("error"); e.Exists() && e.Get("type").String() != "index_not_found_exception" {
			w.failed([]string{w.failureOf(&h, http.StatusServiceUnavailable, e.Raw)}, http.StatusServiceUnavailable)
			continue
		}
		w.progress.change(w.slice, func(c *counts) { c.conflicts++ })
		if !w.job.proceed {
			w.failed([]string{w.changed(&h, d)}, http.StatusConflict)
		}
	}
	return cluster, same, nil
}

// changed is the failure of a document that has changed since it was found.
func (w *worker) changed(h *hit, now gjson.Result) string {
	current := now.Get("_version").Raw
	if !now.Get("found").Bool() || current == "" {
		current = "-1"
	}
	id := "[" + h.id + "]"
	if w.job.dialect.Before(v7) {
		id = "[" + h.typ + "]" + id
	}
	cause := &esapi.Error{Type: "version_conflict_engine_exception", Index: h.index,
		Reason: id + ": version conflict, current version [" + current + "] is different than the one provided [" + h.version + "]"}
	return w.failureOf(h, http.StatusConflict, string(cause.ObjectJSON()))
}

// failureOf is the failure of a document that no bulk was sent for.
func (w *worker) failureOf(h *hit, status int, cause string) string {
	return w.failure(gjson.Parse(`{"_index":` + quote(h.index) + `,"_type":` + quote(h.typ) + `,"_id":` + quote(h.id) + `,"status":` + strconv.Itoa(status) + `,"error":` + cause + `}`))
}

// safely makes a panic an error of the job: it has no request that would answer
// for it.
func safely(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			slog.Error("a job by query met a bug", "panic", p, "stack", string(debug.Stack()))
			err = &esapi.Error{Status: http.StatusInternalServerError, Type: "exception", Reason: fmt.Sprintf("internal error: %v; the log says where", p)}
		}
	}()
	return f()
}
