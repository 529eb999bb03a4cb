package emulate

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// task answers a request about tasks.
func (e *Emulator) task(ctx context.Context, dialect esapi.Version, ep esapi.Endpoint, r *esapi.Request) (*esapi.Response, error) {
	switch ep.API {
	case "tasks.list":
		return e.merged(ctx, dialect, r, e.matching(r))
	case "tasks.get":
		return e.getTask(ctx, dialect, ep, r)
	case "tasks.cancel":
		if ep.TaskID == "" {
			tasks := e.matching(r)
			for _, t := range tasks {
				t.cancelNow()
			}
			return e.merged(ctx, dialect, r, tasks)
		}
		t := e.Tasks.find(ep.TaskID)
		if t == nil || t.isDone() {
			missing := "is not found"
			if dialect.Before(v7) {
				missing = "doesn't support cancellation"
			}
			return e.missing(dialect, ep.TaskID, missing), nil
		}
		t.cancelNow()
		return e.nodes(dialect, []*Task{t}, false), nil
	}
	// rethrottle
	v := &values{params: &r.Params, dialect: dialect}
	rate := v.requestsPerSecond()
	if !r.Params.Has("requests_per_second") {
		return nil, esapi.IllegalArgument("requests_per_second is a required parameter")
	}
	if v.err != nil {
		return nil, v.err
	}
	t := e.Tasks.find(ep.TaskID)
	if t == nil || t.isDone() {
		return e.missing(dialect, ep.TaskID, "is missing"), nil
	}
	t.setRate(rate)
	return e.nodes(dialect, []*Task{t}, true), nil
}

// getTask answers GET _tasks/{id}.
func (e *Emulator) getTask(ctx context.Context, dialect esapi.Version, ep esapi.Endpoint, r *esapi.Request) (*esapi.Response, error) {
	t := e.Tasks.find(ep.TaskID)
	if t == nil {
		return nil, &esapi.Error{Status: http.StatusNotFound, Type: "resource_not_found_exception",
			Reason: "task [" + ep.TaskID + "] isn't running and hasn't stored its results"}
	}
	v := &values{params: &r.Params, dialect: dialect}
	wait, limit := v.bool("wait_for_completion", false), long(v.duration("timeout"))
	if v.err != nil {
		return nil, v.err
	}
	if limit == 0 {
		limit = 30 * time.Second
	}
	if wait {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		select {
		case <-t.done:
		case <-timer.C:
			status := http.StatusInternalServerError
			return nil, &esapi.Error{Status: status, Type: "timeout_exception", Reason: "Timed out waiting for completion of task [" + t.id() + "]"}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if t.isDone() && t.stored != "" {
		return esapi.NewResponse(http.StatusOK, []byte(t.stored)), nil
	}
	return esapi.NewResponse(http.StatusOK, []byte(`{"completed":false,"task":`+t.info(true, true)+`}`)), nil
}

// matching are the tasks that run and that a request to list or cancel means.
func (e *Emulator) matching(r *esapi.Request) []*Task {
	if r.Params.Has("parent_task_id") {
		return nil // they have none
	}
	nodes := r.Params.Get("nodes") + r.Params.Get("node_id")
	if nodes != "" && nodes != "_all" && !strings.Contains(nodes, e.Tasks.node) {
		return nil
	}
	var list []*Task
	for _, t := range e.Tasks.list() {
		if matches(r.Params.Get("actions"), t.job.action) {
			list = append(list, t)
		}
	}
	return list
}

// matches reports whether one of a list of patterns matches an action.
func matches(patterns, action string) bool {
	if patterns == "" {
		return true
	}
	// A star stands for slashes, too.
	action = strings.ReplaceAll(action, "/", "\x00")
	for p := range strings.SplitSeq(strings.ReplaceAll(patterns, "/", "\x00"), ",") {
		if ok, _ := path.Match(p, action); ok {
			return true
		}
	}
	return false
}

// merged sends a request about tasks to the cluster and puts the gateway's own
// into the answer.
func (e *Emulator) merged(ctx context.Context, dialect esapi.Version, r *esapi.Request, tasks []*Task) (*esapi.Response, error) {
	if len(tasks) == 0 {
		a, _, err := e.Gateway.Send(ctx, r, "")
		return a, err
	}
	body, _, err := e.ask(ctx, r, "", e.MaxPage)
	if a, ok := err.(*answerError); ok {
		return esapi.NewResponse(a.status, a.body), nil
	}
	if err != nil {
		return nil, err
	}
	detail := r.Params.Bool("detailed")
	switch r.Params.Get("group_by") {
	case "parents":
		for _, t := range tasks {
			if body, err = sjson.SetRawBytes(body, "tasks."+gjson.Escape(t.id()), []byte(t.info(detail, true))); err != nil {
				return nil, err
			}
		}
	case "none":
		for _, t := range tasks {
			if body, err = sjson.SetRawBytes(body, "tasks.-1", []byte(t.info(detail, true))); err != nil {
				return nil, err
			}
		}
	default:
		if body, err = sjson.SetRawBytes(body, "nodes."+e.Tasks.node, []byte(e.node(dialect, tasks, detail))); err != nil {
			return nil, err
		}
	}
	return esapi.NewResponse(http.StatusOK, body), nil
}

// node is the gateway as a node with tasks.
func (e *Emulator) node(dialect esapi.Version, tasks []*Task, detail bool) string {
	var b strings.Builder
	b.WriteString(`{"name":"esperanto","transport_address":"127.0.0.1:0","host":"127.0.0.1","ip":"127.0.0.1:0","roles":[],"tasks":{`)
	for i, t := range tasks {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(quote(t.id()) + ":" + t.info(detail, true))
	}
	b.WriteString("}}")
	return b.String()
}

func (e *Emulator) nodes(dialect esapi.Version, tasks []*Task, detail bool) *esapi.Response {
	return esapi.NewResponse(http.StatusOK, []byte(`{"nodes":{`+quote(e.Tasks.node)+`:`+e.node(dialect, tasks, detail)+`}}`))
}

// missing is the answer for a task that is not there.
func (e *Emulator) missing(dialect esapi.Version, id, how string) *esapi.Response {
	node := ""
	if dialect.AtLeast(v6) {
		node = `,"node_id":` + quote(e.Tasks.node)
	}
	return esapi.NewResponse(http.StatusOK, []byte(fmt.Sprintf(
		`{"node_failures":[{"type":"failed_node_exception","reason":%s%s,"caused_by":{"type":"resource_not_found_exception","reason":%s}}],"nodes":{}}`,
		strconv.Quote("Failed node ["+e.Tasks.node+"]"), node, quote("task ["+id+"] "+how))))
}
