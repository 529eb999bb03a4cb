package catalogue

import (
	"context"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Snapshots and their repositories.

func init() {
	translate.Register(
		&Change{
			ID: "SNAP-05", Name: "URLRepositoriesAreVerified", Since: V(6, 0),
			Doc: "A repository of the type url is verified when it is made; 5.x made it unseen.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, []string{"snapshot.create_repository"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API == "snapshot.create_repository" && !x.Params.Has("verify") && gjson.GetBytes(x.RequestBody, "type").String() == "url" {
					x.Params.Set("verify", "false")
				}
				return nil
			})}},
			NewClient: nothing,
		},
		snapshotMember("IncludeGlobalState", V(6, 2), "include_global_state", "indices", "true", "5.x does not tell; it is shown as true, the default"),
		snapshotMember("DataStreams", V(7, 9), "data_streams", "indices", "[]", ""),
		snapshotMember("FeatureStates", V(7, 12), "feature_states", "shards", "[]", ""),
		&Change{
			ID: "SNAP-01", Name: "SnapshotsTellTheirMetadata", Since: V(7, 3),
			Doc:       "A snapshot shows the metadata that it was made with.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{drop(translate.SnapshotInfo, "metadata")}},
			NewClient: nothing,
		},
		&Change{
			ID: "SNAP-01", Name: "SnapshotsTellTheirRepository", Since: V(7, 14),
			Doc:       "A snapshot shows its repository.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{drop(translate.SnapshotInfo, "repository")}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.SnapshotInfo, func(x *Exchange, n *Node) error {
				if n.Has("snapshot") && !n.Has("repository") { // the one of several that it is in is known already
					n.InsertAfter("uuid", "repository", translate.Quote(x.Asked.Name))
				}
				return nil
			})}},
		},
		&Change{
			ID: "SNAP-01", Name: "ListsOfSnapshotsReachOverRepositories", Since: V(7, 14),
			Doc: "A list of snapshots counts them in total and remaining, and takes several repositories; one that is missing stands under failures, before it answered 404.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{
				onAPIs(translate.AnswerHead, []string{"snapshot.get"}, missingRepository),
				at(translate.Snapshots, func(_ *Exchange, n *Node) error {
					n.Drop("total")
					n.Drop("remaining")
					return nil
				}),
			}},
			NewClient: Direction{Fidelity: translate.Exact,
				Request: []Rule{onAPIs(translate.RequestHead, []string{"snapshot.get"}, func(x *Exchange, _ *Node) error {
					if x.Asked.API == "snapshot.get" {
						x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
							return snapshotsOf(ctx, x, r, next)
						})
					}
					return nil
				})},
				Response: []Rule{at(translate.Snapshots, func(x *Exchange, n *Node) error {
					if x.Asked.API == "snapshot.get" && n.Has("snapshots") {
						n.Set("total", itoa(len(n.Get("snapshots").Array())))
						n.Set("remaining", "0")
					}
					return nil
				})}},
		},
		&Change{
			ID: "SNAP-02", Name: "SnapshotStatusTellsTheGlobalState", Since: V(6, 2),
			Doc:       "The status of a snapshot shows include_global_state.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{drop(translate.SnapshotStatus, "include_global_state")}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "5.x does not tell; it is shown as true, the default", Response: []Rule{
				at(translate.SnapshotStatus, func(_ *Exchange, n *Node) error {
					n.InsertAfter("state", "include_global_state", "true")
					return nil
				})}},
		},
		&Change{
			ID: "SNAP-02", Name: "SnapshotStatisticsWereGrouped", Since: V(6, 4),
			Doc:       "The statistics of a snapshot's status stand in incremental, processed and total.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.SnapshotStats, flatStatistics)}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "total counts what the snapshot added: 5.x does not tell what it shares with others",
				Response: []Rule{at(translate.SnapshotStats, groupedStatistics)}},
		},
		&Change{
			ID: "SNAP-02", Name: "SnapshotStatisticsLostTheirOldNumbers", Since: V(7, 0),
			Doc:       "number_of_files, processed_files and their sizes are gone from the status of a snapshot.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.SnapshotStats, flatStatistics)}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.SnapshotStats, groupedStatistics)}},
		},
		&Change{
			ID: "SNAP-03", Name: "RestoreSettingsWereRefused", Since: V(8, 0),
			Doc:       "The key settings of a restore, which had no effect, is refused; index_settings is what changes settings.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{drop(translate.RestoreBody, "settings")}},
			NewClient: nothing,
		},
		&Change{
			ID: "SNAP-03", Name: "FeatureStatesAppeared", Since: V(7, 12),
			Doc:       "feature_states says which features' indices are restored.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "feature_states: name the indices", Request: []Rule{drop(translate.RestoreBody, "feature_states")}},
		},
		&Change{
			ID: "SNAP-04", Name: "RepositoriesInUseConflict", Since: V(8, 0),
			Doc: "A change of a repository that is in use answers 409; it was 500.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.AnswerHead, func(x *Exchange, _ *Node) error {
				if changesRepository(x) && x.Status == http.StatusConflict && gjson.GetBytes(x.AnswerBody(), "error.type").String() == repositoryConflict {
					reason := "trying to modify or unregister repository that is currently used "
					if x.Client.AtLeast(V(7, 0)) {
						reason = strings.Replace(reason, "repository", "repository ["+x.Asked.Name+"]", 1) + "(snapshot is in progress)"
					}
					x.Status = http.StatusInternalServerError
					x.Replacement = []byte(errorBody(500, "illegal_state_exception", reason))
					x.Edited()
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.AnswerHead, func(x *Exchange, _ *Node) error {
				if changesRepository(x) && x.Status == http.StatusInternalServerError &&
					strings.HasPrefix(gjson.GetBytes(x.AnswerBody(), "error.reason").String(), "trying to modify or unregister repository") {
					x.Status = http.StatusConflict
					x.Replacement = []byte(errorBody(409, repositoryConflict, "["+x.Asked.Name+
						"] trying to modify or unregister repository that is currently used (snapshot is in progress)"))
					x.Edited()
				}
				return nil
			})}},
		},
		&Change{
			ID: "SNAP-04", Name: "SnapshotNamesInUseHaveAnErrorOfTheirOwn", Since: V(8, 0),
			Doc:       "The error for a snapshot that exists is snapshot_name_already_in_use_exception; it was invalid_snapshot_name_exception.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{nameInUse("snapshot_name_already_in_use_exception", "invalid_snapshot_name_exception")}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{nameInUse("invalid_snapshot_name_exception", "snapshot_name_already_in_use_exception")}},
		},
		&Change{
			ID: "SNAP-06", Name: "SnapshotsAreDeletedByList", Since: V(7, 8),
			Doc: "DELETE takes lists and patterns of snapshots; before, each name was that of one snapshot.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, []string{"snapshot.delete"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API == "snapshot.delete" && isList(x.Asked.Snapshot) {
					return &esapi.Error{Status: http.StatusNotFound, Type: "snapshot_missing_exception", Reason: "[" + x.Asked.Name + ":" + x.Asked.Snapshot + "] is missing"}
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "they are deleted one after the other", Request: []Rule{onAPIs(translate.RequestHead, []string{"snapshot.delete"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API == "snapshot.delete" && isList(x.Asked.Snapshot) {
					x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
						return deleteSnapshots(ctx, x, r, next)
					})
				}
				return nil
			})}},
		},
	)
}

const repositoryConflict = "repository_conflict_exception"

func nameInUse(from, to string) Rule {
	return at(translate.Error, func(_ *Exchange, n *Node) error {
		if n.Get("type").String() == from && strings.Contains(n.Get("reason").String(), "snapshot with the same name") {
			n.SetString("type", to)
		}
		return nil
	})
}

func changesRepository(x *Exchange) bool {
	return x.Asked.API == "snapshot.delete_repository" || x.Asked.API == "snapshot.create_repository"
}

// isList reports whether an expression may stand for several names.
func isList(expression string) bool {
	return strings.ContainsAny(expression, ",*") || expression == "_all"
}

// snapshotMember makes the change of a member that appeared in what is said of a
// snapshot.
func snapshotMember(name string, since Version, key, after, raw, loses string) *Change {
	c := &Change{
		ID: "SNAP-01", Name: "SnapshotsTell" + name, Since: since,
		Doc:       "A snapshot shows " + key + ".",
		OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{drop(translate.SnapshotInfo, key)}},
		NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.SnapshotInfo, func(_ *Exchange, n *Node) error {
			if n.Has("snapshot") {
				n.InsertAfter(after, key, raw)
			}
			return nil
		})}},
	}
	if loses != "" {
		c.NewClient.Fidelity, c.NewClient.Loses = translate.Lossy, loses
	}
	return c
}

// missingRepository is the error of versions that list the snapshots of one
// repository only.
func missingRepository(x *Exchange, _ *Node) error {
	if x.Asked.API != "snapshot.get" || x.Status != http.StatusOK {
		return nil
	}
	gjson.GetBytes(x.AnswerBody(), "failures").ForEach(func(_, failure gjson.Result) bool {
		x.Status = http.StatusNotFound
		x.Replacement = []byte(errorBody(404, failure.Get("type").String(), failure.Get("reason").String()))
		x.Edited()
		return false
	})
	return nil
}

// snapshotsOf lists the snapshots of one repository after the other.
func snapshotsOf(ctx context.Context, x *Exchange, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	names := []string{x.Asked.Name}
	if isList(x.Asked.Name) {
		known, err := ask(ctx, next, "/_snapshot")
		if err != nil {
			return nil, err
		}
		names = matching(x.Asked.Name, keysOf(known))
	}
	var snapshots []string
	var failures object
	for _, name := range names {
		e := x.Endpoint
		e.Name = name
		sent := *r
		path, ok := e.PathFor(x.Cluster)
		if !ok {
			return nil, x.Refuse("the snapshots of several repositories")
		}
		sent.Path = path
		a, err := next.Send(ctx, &sent)
		if err != nil {
			return nil, err
		}
		body, err := readAll(a)
		if err != nil {
			return nil, err
		}
		if a.Status >= 400 {
			failed := gjson.GetBytes(body, "error")
			if failed.Get("type").String() != "repository_missing_exception" {
				return esapi.NewResponse(a.Status, body), nil
			}
			failures.set(name, `{"type":`+failed.Get("type").Raw+`,"reason":`+failed.Get("reason").Raw+`}`)
			continue
		}
		gjson.GetBytes(body, "snapshots").ForEach(func(_, s gjson.Result) bool {
			n := translate.NewNode(s.Raw)
			n.InsertAfter("uuid", "repository", translate.Quote(name))
			snapshots = append(snapshots, n.Raw())
			return true
		})
	}
	answer := `{"snapshots":[` + strings.Join(snapshots, ",") + `]`
	if failures.len() > 0 {
		answer += `,"failures":` + failures.String()
	}
	return esapi.NewResponse(http.StatusOK, []byte(answer+"}")), nil
}

// matching are the names that a list with patterns stands for, in its order. A
// name without a pattern stands for itself, a minus sign leaves out.
func matching(expression string, known []string) []string {
	var names []string
	for _, one := range strings.Split(expression, ",") {
		if one == "_all" {
			one = "*"
		}
		pattern, drop := strings.CutPrefix(one, "-")
		if !drop {
			pattern = one
		}
		if drop && len(names) > 0 {
			names = slices.DeleteFunc(names, func(n string) bool { ok, _ := path.Match(pattern, n); return ok })
			continue
		}
		if !strings.Contains(one, "*") {
			if !slices.Contains(names, one) {
				names = append(names, one)
			}
			continue
		}
		for _, k := range known {
			if ok, _ := path.Match(one, k); ok && !slices.Contains(names, k) {
				names = append(names, k)
			}
		}
	}
	return names
}

// keysOf are the keys of an object, sorted.
func keysOf(o gjson.Result) []string {
	var keys []string
	o.ForEach(func(k, _ gjson.Result) bool {
		keys = append(keys, k.String())
		return true
	})
	slices.Sort(keys)
	return keys
}

// ask sends a GET of a step's own. An answer that is an error is the step's.
func ask(ctx context.Context, next esapi.Sender, target string) (gjson.Result, error) {
	a, err := next.Send(ctx, esapi.NewRequest("GET", target, nil))
	if err != nil {
		return gjson.Result{}, err
	}
	body, err := readAll(a)
	if err != nil {
		return gjson.Result{}, err
	}
	if a.Status >= 400 {
		return gjson.Result{}, esapi.ParseError(a.Status, body)
	}
	return gjson.ParseBytes(body), nil
}

// deleteSnapshots deletes one snapshot after the other: a cluster deletes one at
// a time.
func deleteSnapshots(ctx context.Context, x *Exchange, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	e := x.Endpoint
	e.API, e.Method = "snapshot.get", http.MethodGet
	target, ok := e.PathFor(x.Cluster)
	if !ok {
		return nil, x.Refuse("the deletion of several snapshots")
	}
	found, err := ask(ctx, next, target)
	if err != nil {
		return nil, err
	}
	for _, s := range found.Get("snapshots").Array() {
		one := x.Endpoint
		one.Snapshot = s.Get("snapshot").String()
		sent := *r
		if sent.Path, ok = one.PathFor(x.Cluster); !ok {
			return nil, x.Refuse("the deletion of several snapshots")
		}
		a, err := next.Send(ctx, &sent)
		if err != nil || a.Status >= 400 {
			return a, err
		}
		if _, err := readAll(a); err != nil {
			return nil, err
		}
	}
	return esapi.NewResponse(http.StatusOK, []byte(`{"acknowledged":true}`)), nil
}

// flatNumbers are the numbers of up to 6.8, and where they stand in the grouped
// form.
var flatNumbers = []struct{ flat, grouped string }{
	{"number_of_files", "incremental.file_count"},
	{"processed_files", "processed.file_count"},
	{"total_size_in_bytes", "incremental.size_in_bytes"},
	{"processed_size_in_bytes", "processed.size_in_bytes"},
}

// flatStatistics writes the numbers as the client's version shows them: 5.x to
// 6.3 flat, up to 6.8 in both forms.
func flatStatistics(x *Exchange, n *Node) error {
	if !n.Has("incremental") {
		return nil
	}
	var o, flat object
	v := n.Value()
	for _, m := range flatNumbers {
		number := v.Get(m.grouped)
		if !number.Exists() { // when all is processed it is left out
			number = v.Get(strings.Replace(m.grouped, "processed", "incremental", 1))
		}
		flat.set(m.flat, number.Raw)
	}
	if x.Client.AtLeast(V(6, 4)) {
		o.addAll(v)
		o.addAll(gjson.Parse(flat.String()))
	} else {
		o.addAll(gjson.Parse(flat.String()))
		for _, key := range []string{"start_time_in_millis", "time_in_millis"} {
			if m := v.Get(key); m.Exists() {
				o.set(key, m.Raw)
			}
		}
	}
	n.Replace(o.String())
	return nil
}

// groupedStatistics writes the numbers of an older cluster in groups. What a
// snapshot shares with others is not told there: total is what it added.
func groupedStatistics(x *Exchange, n *Node) error {
	v := n.Value()
	if !n.Has("number_of_files") {
		return nil
	}
	var o object
	if n.Has("incremental") {
		o.addAll(v) // 6.4 to 6.8 show both
	} else {
		files, processed := v.Get("number_of_files"), v.Get("processed_files")
		group := func(key, count, size string) {
			o.set(key, `{"file_count":`+v.Get(count).Raw+`,"size_in_bytes":`+v.Get(size).Raw+`}`)
		}
		group("incremental", "number_of_files", "total_size_in_bytes")
		if files.Raw != processed.Raw {
			group("processed", "processed_files", "processed_size_in_bytes")
		}
		group("total", "number_of_files", "total_size_in_bytes")
		o.addAll(v)
	}
	if x.Client.AtLeast(V(7, 0)) {
		for _, m := range flatNumbers {
			o.drop(m.flat)
		}
	}
	n.Replace(o.String())
	return nil
}
