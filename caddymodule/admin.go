package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/esperanto-es/esperanto/replicate"
)

func init() {
	caddy.RegisterModule(adminAPI{})
}

// adminAPI is what an operator asks and tells the gateways, on Caddy's admin
// endpoint. JSON goes in and out. A process with several gateways needs
// ?gateway=<name>.
//
//	GET  /esperanto/status
//	POST /esperanto/switchover           {"master":"target-es8","dry_run":false,"failover":false}
//	POST /esperanto/apply                {"state":"paused"|"running"}
//	GET  /esperanto/dead_letters         ?after=<key>&limit=<number>
//	POST /esperanto/dead_letters/retry   {"ids":["<key>"]} or {"all":true}
//	POST /esperanto/dead_letters/drop    {"ids":["<key>"]} or {"all":true}
//	GET  /esperanto/readiness
//	POST /esperanto/readiness/reset
//	     /esperanto/verify               see jobRoutes
//	     /esperanto/backfill             see jobRoutes
//	     /esperanto/resync               {"indices":["<name or pattern>"]}; see jobRoutes
//	POST /esperanto/members/drop         {"instance":"<as the status shows it>","force":false}
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.esperanto",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Routes implements caddy.AdminRouter.
func (adminAPI) Routes() []caddy.AdminRoute {
	handlers := map[string]map[string]adminRoute{} // by path and method
	for _, r := range slices.Concat([]adminRoute{
		{http.MethodGet, "/esperanto/status", adminStatus},
		{http.MethodPost, "/esperanto/switchover", adminSwitchover},
		{http.MethodPost, "/esperanto/apply", adminApply},
		{http.MethodGet, "/esperanto/dead_letters", adminDeadLetters},
		{http.MethodPost, "/esperanto/dead_letters/retry", adminRetry},
		{http.MethodPost, "/esperanto/dead_letters/drop", adminDrop},
		{http.MethodPost, "/esperanto/members/drop", adminDropMember},
		{http.MethodGet, "/esperanto/readiness", adminReadiness},
		{http.MethodPost, "/esperanto/readiness/reset", adminReadinessReset},
	}, jobRoutes(replicate.JobVerify, adminVerify), jobRoutes(replicate.JobBackfill, adminBackfill), resyncRoutes()) {
		if handlers[r.path] == nil {
			handlers[r.path] = map[string]adminRoute{}
		}
		handlers[r.path][r.method] = r
	}
	var routes []caddy.AdminRoute
	for path, byMethod := range handlers {
		routes = append(routes, caddy.AdminRoute{Pattern: path, Handler: caddy.AdminHandlerFunc(func(w http.ResponseWriter, req *http.Request) error {
			return serveAdmin(byMethod, w, req)
		})})
	}
	return routes
}

// An adminRoute is one way to ask or tell a gateway.
type adminRoute struct {
	method, path string
	handle       func(r *http.Request, on *running) (any, error)
}

func serveAdmin(byMethod map[string]adminRoute, w http.ResponseWriter, req *http.Request) error {
	r, ok := byMethod[req.Method]
	if !ok {
		allowed := strings.Join(slices.Sorted(maps.Keys(byMethod)), ", ")
		w.Header().Set("Allow", allowed)
		return apiError(http.StatusMethodNotAllowed, fmt.Errorf("method %s is not allowed; use %s", req.Method, allowed))
	}
	on, err := gatewayNamed(req.URL.Query().Get("gateway"))
	if err != nil {
		return err
	}
	answer, err := r.handle(req, on)
	if err != nil {
		return refusal(w, err)
	}
	return writeJSON(w, http.StatusOK, answer)
}

// newest are the running gateways by name. While a reload is under way there
// may be two of a name: the new one counts.
func newest() map[string]*running {
	byName := map[string]*running{}
	gateways.Range(func(_, value any) bool {
		r := value.(*running)
		if other := byName[r.key.name]; other == nil || r.made > other.made {
			byName[r.key.name] = r
		}
		return true
	})
	return byName
}

// gatewayNamed finds a running gateway; "" finds the only one.
func gatewayNamed(name string) (*running, error) {
	byName := newest()
	var names []string
	for n := range byName {
		names = append(names, n)
	}
	slices.Sort(names)
	switch {
	case name != "" && byName[name] != nil:
		return byName[name], nil
	case name == "" && len(names) == 1:
		return byName[names[0]], nil
	case len(names) == 0:
		return nil, apiError(http.StatusNotFound, errors.New("no gateway is running; the configuration has no esperanto directive"))
	case name == "":
		return nil, apiError(http.StatusBadRequest, fmt.Errorf("there are several gateways: %s; add ?gateway=<name>", strings.Join(names, ", ")))
	}
	return nil, apiError(http.StatusNotFound, fmt.Errorf("there is no gateway %s; there is: %s", name, strings.Join(names, ", ")))
}

func adminStatus(r *http.Request, on *running) (any, error) {
	return statusAnswer{on.key.name, on.replication.replicator.Status(r.Context()), on.verifyState(r.Context())}, nil
}

// statusAnswer is the status as the admin API gives it.
type statusAnswer struct {
	Gateway string `json:"gateway"`
	replicate.Status
	Verify *replicate.Job `json:"verify,omitempty"` // the last one
}

func adminSwitchover(r *http.Request, on *running) (any, error) {
	var req replicate.SwitchRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if req.Master == "" {
		return nil, apiError(http.StatusBadRequest, fmt.Errorf(`"master" is missing; the clusters are: %s`, strings.Join(on.names(), ", ")))
	}
	res, err := on.replication.replicator.Switchover(r.Context(), req)
	if errors.Is(err, replicate.ErrUnknownCluster) {
		return nil, apiError(http.StatusBadRequest, fmt.Errorf("there is no cluster %s; the clusters are: %s", req.Master, strings.Join(on.names(), ", ")))
	}
	if err == nil && !req.DryRun {
		pause.WithLabelValues(on.key.name).Set(res.PauseMS / 1000)
	}
	return res, err
}

func adminApply(r *http.Request, on *running) (any, error) {
	var req struct {
		State string `json:"state"`
	}
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if req.State != "paused" && req.State != "running" {
		return nil, apiError(http.StatusBadRequest, fmt.Errorf(`"state" is %q; it is "paused" or "running"`, req.State))
	}
	if err := on.replication.replicator.Apply(r.Context(), req.State); err != nil {
		return nil, err
	}
	return req, nil
}

func adminDeadLetters(r *http.Request, on *running) (any, error) {
	limit := 100
	if text := r.URL.Query().Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > replicate.MaxDeadList {
			return nil, apiError(http.StatusBadRequest, fmt.Errorf("limit %s is no number from 1 to %d", text, replicate.MaxDeadList))
		}
	}
	letters, err := on.replication.replicator.DeadLetters(r.Context(), r.URL.Query().Get("after"), limit)
	if err != nil {
		return nil, err
	}
	answer := struct {
		DeadLetters []replicate.DeadLetter `json:"dead_letters"`
		After       string                 `json:"next_after,omitempty"` // where the next page begins
	}{DeadLetters: letters}
	if letters == nil {
		answer.DeadLetters = []replicate.DeadLetter{}
	}
	if len(letters) == limit {
		answer.After = letters[limit-1].Key
	}
	return answer, nil
}

// letterRequest names dead letters by their keys.
type letterRequest struct {
	IDs []string `json:"ids"`
	All bool     `json:"all"`
}

func readLetters(r *http.Request) ([]string, error) {
	var req letterRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if req.All == (len(req.IDs) > 0) {
		return nil, apiError(http.StatusBadRequest, errors.New(`name dead letters by "ids", or all of them by "all":true`))
	}
	return req.IDs, nil
}

func adminRetry(r *http.Request, on *running) (any, error) {
	ids, err := readLetters(r)
	if err != nil {
		return nil, err
	}
	done, left, err := on.replication.replicator.RetryDeadLetters(r.Context(), ids...)
	return map[string]int{"done": done, "left": left}, err
}

func adminDrop(r *http.Request, on *running) (any, error) {
	ids, err := readLetters(r)
	if err != nil {
		return nil, err
	}
	dropped, err := on.replication.replicator.DropDeadLetters(r.Context(), ids...)
	return map[string]int{"dropped": dropped}, err
}

// refusal answers what was not done, and why.
func refusal(w http.ResponseWriter, err error) error {
	var switching *replicate.SwitchError
	if errors.As(err, &switching) {
		return writeJSON(w, http.StatusConflict, refused{Error: "the master was not moved", SwitchError: *switching})
	}
	if answered, failed := jobRefused(w, err); answered {
		return failed
	}
	var own caddy.APIError
	if errors.As(err, &own) {
		return own
	}
	return apiError(http.StatusInternalServerError, err)
}

// refused is the answer 409.
type refused struct {
	Error string `json:"error"`
	replicate.SwitchError
}

// maxRequest bounds what is read of a request, in bytes.
const maxRequest = 1 << 20

func readJSON(r *http.Request, to any) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err == nil {
		err = json.Unmarshal(body, to)
	}
	if err != nil {
		return apiError(http.StatusBadRequest, fmt.Errorf("the body is not the JSON that is expected: %w", err))
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(v)
}

func apiError(status int, err error) error {
	return caddy.APIError{HTTPStatus: status, Err: err, Message: err.Error()}
}

var _ caddy.AdminRouter = (*adminAPI)(nil)
