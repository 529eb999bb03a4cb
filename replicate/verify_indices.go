package replicate

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/replicate/verify"
)

// index compares one index: what it is made of, and its documents.
func (v *verification) index(ctx context.Context, name string, size cluster.Size) error {
	if done, err := v.resynced(ctx, name); err != nil {
		return err
	} else if !done {
		v.notCompared("index "+name, "it is to be resynced, and does not have everything yet; verify it when that is done")
		return nil
	}
	if other, err := v.stranger(ctx, name); other || err != nil {
		return err
	}
	if err := v.state(ctx, name); err != nil {
		return err
	}
	here, err := v.openAt(ctx, v.p.from, name)
	if err != nil {
		return err
	}
	there, err := v.openAt(ctx, v.p.to, name)
	if err != nil {
		return err
	}
	switch {
	case here == "":
		return nil // the whole of it is extra, or it was deleted by now
	case here == "close" || there == "close":
		v.notCompared("documents of "+name, "the index is closed")
		return nil
	}
	err = v.documents(ctx, name, size, there != "")
	if gone(err) {
		// It was deleted in between; what that leaves is told by its state.
		v.r.log.Info("an index was deleted while it was compared", "index", name)
		return v.state(ctx, name)
	}
	return err
}

func (v *verification) openAt(ctx context.Context, c *cluster.Cluster, name string) (state string, err error) {
	err = v.still(ctx, func() (err error) {
		state, err = openState(ctx, c, name)
		if gone(err) {
			state, err = "", nil
		}
		return err
	})
	return state, err
}

// state compares what an index is made of, until it is sure.
func (v *verification) state(ctx context.Context, name string) error {
	return v.sureOf(ctx,
		func() ([]Mismatch, error) { return v.indexState(ctx, name) },
		func(list []Mismatch) error {
			for _, m := range list {
				if m.What == whatIndex && m.Kind == KindExtra {
					return nil // it is not deleted: it may belong to somebody else
				}
			}
			if err := v.p.unmeet(ctx, stateRef{whatIndex, name}); err != nil {
				return err
			}
			problem, err := v.p.applyState(ctx, stateRef{whatIndex, name}, nil)
			v.r.log.Info("the state of an index was repaired", "index", name, "cluster", v.p.to.Name(), "problem", problem)
			return err
		})
}

// sureOf counts what look finds at two looks, each after all that had been
// journaled was applied, and repairs it.
func (v *verification) sureOf(ctx context.Context, look func() ([]Mismatch, error), repair func([]Mismatch) error) error {
	list, err := v.lookTwice(ctx, look)
	if err != nil || len(list) == 0 {
		return err
	}
	if v.o.Repair {
		err = v.holding(ctx, func() error { return v.still(ctx, func() error { return repair(list) }) })
		var left []Mismatch
		if err == nil {
			left, err = v.lookTwice(ctx, look)
		}
		for i := range list {
			list[i].Repaired = err == nil && !slices.ContainsFunc(left, list[i].same)
		}
		if err != nil {
			err = fmt.Errorf("repairing: %w", err)
		}
	}
	for i := range list {
		if m := &list[i]; !m.Repaired {
			ref := DeadLetter{Cluster: v.p.to.Name(), What: m.What, Index: m.Name}
			if m.Index != "" {
				ref.What, ref.Index = whatIndex, m.Index
			}
			m.Why += v.letter(ctx, ref)
		}
	}
	v.found(list)
	return err
}

// same reports whether two mismatches are about the same.
func (m Mismatch) same(other Mismatch) bool {
	return m.What == other.What && m.Index == other.Index && m.Name == other.Name && m.Kind == other.Kind
}

// lookTwice returns what differs at three looks, each after a settling.
func (v *verification) lookTwice(ctx context.Context, look func() ([]Mismatch, error)) (list []Mismatch, err error) {
	for i := range sureAfter + 1 {
		if i > 0 {
			if err := v.settle(ctx); err != nil {
				return nil, err
			}
		}
		var now []Mismatch
		if err := v.still(ctx, func() (err error) { now, err = look(); return err }); err != nil {
			return nil, err
		}
		if i > 0 {
			now = slices.DeleteFunc(now, func(m Mismatch) bool { return !slices.ContainsFunc(list, m.same) })
		}
		if list = now; len(list) == 0 {
			return nil, nil
		}
	}
	return list, nil
}

// indexState tells in what the follower's index differs from the master's, apart
// from documents.
func (v *verification) indexState(ctx context.Context, name string) ([]Mismatch, error) {
	masters, err := v.p.indices.read(ctx, []string{name})
	if err != nil {
		return nil, err
	}
	followers, err := v.r.applier.pairs[v.p.to.Name()].indices.read(ctx, []string{name})
	if err != nil {
		return nil, err
	}
	master, ok := masters[name]
	follower, there := followers[name]
	whole := Mismatch{What: whatIndex, Index: name, Name: name}
	switch {
	case !ok && !there:
		return nil, nil
	case !ok:
		whole.Kind, whole.Why = KindExtra, v.extraIndex(ctx, name)
		return []Mismatch{whole}, nil
	case !there:
		whole.Kind, whole.Why = KindMissing, "the follower does not have the index"
		return []Mismatch{whole}, nil
	}
	var list []Mismatch
	here, err := openState(ctx, v.p.from, name)
	if err != nil {
		return nil, err
	}
	elsewhere, err := openState(ctx, v.p.to, name)
	if err != nil {
		return nil, err
	}
	if here != elsewhere && here != "" && elsewhere != "" {
		list = append(list, Mismatch{What: whatIndex, Kind: KindDifferent, Index: name, Name: "state", Why: fmt.Sprintf("the master's is %s, the follower's %s", here, elsewhere)})
	}
	for _, compare := range []func(context.Context, indexState, indexState) ([]Mismatch, error){v.mapping, v.settings, v.aliases} {
		found, err := compare(ctx, master, follower)
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	return list, nil
}

func (v *verification) extraIndex(ctx context.Context, name string) string {
	why := "the master does not have the index"
	if size, err := v.p.to.Size(ctx, name); err == nil {
		why += fmt.Sprintf(", the follower has it with %d documents", size.Docs)
	}
	return why + "; it is not deleted by a repair: if nobody needs it, delete it at " + v.p.to.Name()
}

// A rehearsal takes what would change a cluster instead of it, as it would be
// sent there. What only asks goes through.
type rehearsal struct {
	next esapi.Sender
	sent []*esapi.Request
}

// Send implements esapi.Sender.
func (h *rehearsal) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead || strings.HasSuffix(r.Path, "/_search") || strings.HasSuffix(r.Path, "/_mget") {
		return h.next.Send(ctx, r)
	}
	if body := r.Reader(); body != nil {
		raw, err := io.ReadAll(body)
		if err != nil {
			return nil, err
		}
		r.Body, r.Stream = raw, nil
	}
	h.sent = append(h.sent, r)
	return esapi.NewResponse(http.StatusOK, []byte(`{"acknowledged":true}`)), nil
}

// rehearse tells what a scribe would send to the follower. problem is why it
// would not.
func (v *verification) rehearse(ctx context.Context, typ string, f func(s *scribe) (problem, err error)) (sent []*esapi.Request, problem, err error) {
	h := &rehearsal{next: v.p.to}
	s, err := newScribe(ctx, v.r.cfg, v.p.from, v.p.to, typ)
	if err != nil {
		return nil, nil, err
	}
	target, err := v.p.to.Version(ctx)
	if err != nil {
		return nil, nil, err
	}
	s.sender = v.r.cfg.Translate(s.dialect, target, v.p.to.Facts(), h)
	problem, err = f(s)
	return h.sent, problem, err
}

// mapping compares mappings: the follower's must contain what the master's is
// after translation.
func (v *verification) mapping(ctx context.Context, master, follower indexState) ([]Mismatch, error) {
	sent, problem, err := v.rehearse(ctx, master.typ, func(s *scribe) (problem, err error) { return s.putMapping(ctx, master) })
	if err != nil {
		return nil, err
	}
	m := Mismatch{What: whatMapping, Kind: KindDifferent, Index: master.name}
	if problem != nil {
		m.Why = problem.Error()
		return []Mismatch{m}, nil
	}
	target, err := v.p.to.Version(ctx)
	if err != nil {
		return nil, err
	}
	var why []string
	for _, r := range sent {
		e := esapi.ParseEndpoint(r.Method, r.Path, target)
		if e.API != "indices.put_mapping" {
			continue
		}
		want, have := gjson.ParseBytes(r.Body), follower.mappings
		if target.Major < 7 {
			have = have.Get(gjson.Escape(e.Type))
			if inner := want.Get(gjson.Escape(e.Type)); inner.IsObject() && !want.Get("properties").Exists() {
				want = inner
			}
			if !have.Exists() {
				why = append(why, fmt.Sprintf("type %s is missing at the follower", e.Type))
				continue
			}
		}
		why = append(why, verify.Mapping(want, have)...)
	}
	if len(why) == 0 {
		return nil, nil
	}
	m.Why = strings.Join(why, "; ")
	return []Mismatch{m}, nil
}

// uncompared are settings that do not have to be the same.
var uncompared = []string{"number_of_shards", "number_of_routing_shards"}

// groups are settings that no cluster lists among its defaults.
var groups = []string{"analysis.", "similarity.", "sort."}

// settings compares the settings that are carried over. Such as the follower's
// version does not know do not count.
func (v *verification) settings(ctx context.Context, master, follower indexState) ([]Mismatch, error) {
	want, have := flatSettings(master.settings), flatSettings(follower.settings)
	var unset map[string]gjson.Result // what the follower takes where nothing is set
	defaults := func() (err error) {
		if unset == nil {
			unset, err = defaultSettings(ctx, v.p.to, master.name)
		}
		return err
	}
	var list []Mismatch
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if !settable(key) || slices.Contains(uncompared, key) || verify.Setting(want[key], have[key]) {
			continue
		}
		if err := defaults(); err != nil {
			return nil, err
		}
		body, _ := sjson.SetRaw(`{}`, "index."+gjson.Escape(key), want[key].Raw)
		sent, problem, err := v.rehearse(ctx, "", func(s *scribe) (problem, err error) {
			_, _, problem, err = s.do(ctx, http.MethodPut, cluster.Path(master.name, "_settings"), []byte(body))
			return problem, err
		})
		if err != nil {
			return nil, err
		}
		if problem != nil || len(sent) == 0 {
			continue // it is left behind
		}
		for other, wanted := range flatSettings(gjson.ParseBytes(sent[0].Body)) {
			now, is := have[other]
			if !is {
				now, is = unset[other]
			}
			if (is || hasAnyPrefix(other, groups)) && !verify.Setting(wanted, now) {
				list = append(list, settingMismatch(master.name, other, wanted, now))
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(have)) {
		if _, ok := want[key]; ok || !hasAnyPrefix(key, resettable) {
			continue
		}
		masters, err := defaultSettings(ctx, v.p.from, master.name)
		if err != nil {
			return nil, err
		}
		if !verify.Setting(masters[key], have[key]) {
			list = append(list, settingMismatch(master.name, key, gjson.Result{}, have[key]))
		}
	}
	return list, nil
}

func settingMismatch(index, key string, want, have gjson.Result) Mismatch {
	text := func(v gjson.Result) string {
		if !v.Exists() {
			return "not set"
		}
		return v.Raw
	}
	return Mismatch{What: whatSetting, Kind: KindDifferent, Index: index, Name: key, Why: fmt.Sprintf("%s is %s, at the follower %s", key, text(want), text(have))}
}

// flatSettings are settings by their full names, without "index.".
func flatSettings(o gjson.Result) map[string]gjson.Result {
	all := map[string]gjson.Result{}
	verify.Flatten(o, func(key string, value gjson.Result) { all[strings.TrimPrefix(key, "index.")] = value })
	return all
}

// defaultSettings are the values of the settings that an index does not have.
func defaultSettings(ctx context.Context, c *cluster.Cluster, name string) (map[string]gjson.Result, error) {
	status, answer, err := c.Do(ctx, http.MethodGet, cluster.Path(name, "_settings")+"?include_defaults=true&flat_settings=true", nil)
	if err == nil {
		err = c.Failed(status, answer)
	}
	if err != nil {
		return nil, err
	}
	return flatSettings(gjson.GetBytes(answer, gjson.Escape(name)+".defaults")), nil
}

// aliases compares the aliases of an index.
func (v *verification) aliases(ctx context.Context, master, follower indexState) ([]Mismatch, error) {
	want, have := master.aliases.Map(), follower.aliases.Map()
	var list []Mismatch
	add := func(kind, name, why string) {
		list = append(list, Mismatch{What: whatAlias, Kind: kind, Index: master.name, Name: name, Why: why})
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		there, ok := have[name]
		if !ok {
			add(KindMissing, name, "the follower's index does not have the alias")
			continue
		}
		if verify.Alias(want[name], there) == "" {
			continue
		}
		why, err := v.alias(ctx, master.name, name, want[name], there)
		if err != nil {
			return nil, err
		}
		if why != "" {
			add(KindDifferent, name, why)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if _, ok := want[name]; !ok {
			add(KindExtra, name, "the master's index does not have the alias")
		}
	}
	return list, nil
}

// alias tells in what an alias of the follower differs from what the master's is
// after translation.
func (v *verification) alias(ctx context.Context, index, name string, want, have gjson.Result) (string, error) {
	actions := aliasChanges([]string{index}, map[string]map[string]string{index: {name: want.Raw}}, nil)
	sent, problem, err := v.rehearse(ctx, "", func(s *scribe) (problem, err error) {
		_, _, problem, err = s.do(ctx, http.MethodPost, "/_aliases", []byte(`{"actions":[`+strings.Join(actions, ",")+`]}`))
		return problem, err
	})
	if err != nil {
		return "", err
	}
	if problem != nil {
		return problem.Error(), nil
	}
	if len(sent) == 0 {
		return "", nil
	}
	translated, _ := sjson.Delete(gjson.GetBytes(sent[0].Body, "actions.0.add").Raw, "index")
	translated, _ = sjson.Delete(translated, "alias")
	return verify.Alias(gjson.Parse(translated), have), nil
}

// A definedKind is a kind of things that belong to no index.
type definedKind struct {
	what  string
	list  string // where all of them are shown
	since esapi.Version
}

var definedKinds = []definedKind{
	{what: whatComponentTemplate, list: "/_component_template", since: esapi.V(7, 8)},
	{what: whatIndexTemplate, list: "/_index_template", since: esapi.V(7, 8)},
	{what: whatTemplate, list: "/_template"},
	{what: whatPipeline, list: "/_ingest/pipeline"},
	{what: whatScript, list: "/_cluster/state/metadata?filter_path=metadata.stored_scripts"},
}

// definitions compares templates, pipelines and stored scripts.
func (v *verification) definitions(ctx context.Context) error {
	var refs []stateRef
	for _, k := range definedKinds {
		names, err := v.defined(ctx, v.p.from, k)
		if err != nil {
			return err
		}
		for _, name := range names {
			refs = append(refs, stateRef{k.what, name})
		}
	}
	expected := map[stateRef]bool{} // at the follower
	for _, ref := range refs {
		if err := v.job.Wait(ctx); err != nil {
			return err
		}
		err := v.sureOf(ctx,
			func() ([]Mismatch, error) { return v.definition(ctx, ref, expected) },
			func([]Mismatch) error {
				if err := v.p.unmeet(ctx, ref); err != nil {
					return err
				}
				_, err := v.p.applyState(ctx, ref, nil)
				return err
			})
		if err != nil {
			return fmt.Errorf("%s %s: %w", ref.What, ref.Name, err)
		}
	}
	return v.sureOf(ctx, func() ([]Mismatch, error) { return v.extraDefinitions(ctx, expected) }, func([]Mismatch) error { return nil })
}

// defined lists the things of a kind.
func (v *verification) defined(ctx context.Context, c *cluster.Cluster, k definedKind) (names []string, err error) {
	err = v.still(ctx, func() (err error) {
		names, err = k.names(ctx, c)
		return err
	})
	return names, err
}

// names lists the things of a kind, without those that are Elasticsearch's own.
func (k definedKind) names(ctx context.Context, c *cluster.Cluster) (names []string, err error) {
	version, err := c.Version(ctx)
	if err != nil || version.Before(k.since) {
		return nil, err
	}
	status, answer, err := c.Do(ctx, http.MethodGet, k.list, nil)
	if err != nil {
		return nil, err
	}
	if failed := c.Failed(status, answer); failed != nil {
		if status == http.StatusNotFound && gjson.ValidBytes(answer) {
			return nil, nil
		}
		return nil, failed
	}
	if k.what == whatScript {
		gjson.GetBytes(answer, "metadata.stored_scripts").ForEach(func(name, _ gjson.Result) bool {
			_, id, twice := strings.Cut(name.String(), "#") // 5.x may show it with its language, too
			if !twice {
				id = name.String()
			}
			if !slices.Contains(names, id) {
				names = append(names, id)
			}
			return true
		})
	} else {
		names = namesIn(k.what, answer)
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return builtIn(name) || managed(definition(stateRef{k.what, name}, alone(k.what, name, answer)))
	})
	slices.Sort(names)
	return names, nil
}

// alone is an answer about one thing, out of one about all.
func alone(what, name string, all []byte) []byte {
	list := ""
	switch what {
	case whatIndexTemplate:
		list = "index_templates"
	case whatComponentTemplate:
		list = "component_templates"
	default:
		return all
	}
	var one []byte
	gjson.GetBytes(all, list).ForEach(func(_, o gjson.Result) bool {
		if o.Get("name").String() == name {
			one = fmt.Appendf(nil, `{%q:[%s]}`, list, o.Raw)
		}
		return one == nil
	})
	return one
}

// builtIn reports whether a thing of this name comes with Elasticsearch.
func builtIn(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "xpack_monitoring_") ||
		slices.Contains([]string{"ilm-history", "slm-history", "security_audit_log", "security-index-template", "logstash-index-template", "ent-search-generic-ingestion"}, name)
}

func managed(definition string) bool { return gjson.Get(definition, "_meta.managed").Bool() }

// definition tells in what a template, a pipeline or a script of the follower
// differs. What it should have is put into expected.
func (v *verification) definition(ctx context.Context, ref stateRef, expected map[stateRef]bool) ([]Mismatch, error) {
	status, answer, err := v.p.from.Do(ctx, http.MethodGet, statePath(ref.What, ref.Name), nil)
	if err != nil {
		return nil, err
	}
	body := ""
	if status != http.StatusNotFound {
		if err := v.p.from.Failed(status, answer); err != nil {
			return nil, err
		}
		body = definition(ref, answer)
	}
	if body == "" {
		return nil, nil // it was deleted in between
	}
	m := Mismatch{What: ref.What, Kind: KindDifferent, Name: ref.Name}
	sent, problem, err := v.rehearse(ctx, "", func(s *scribe) (problem, err error) {
		_, _, problem, err = s.do(ctx, http.MethodPut, statePath(ref.What, ref.Name), []byte(body))
		return problem, err
	})
	if err != nil {
		return nil, err
	}
	if problem != nil {
		m.Why = problem.Error()
		return []Mismatch{m}, nil
	}
	target, err := v.p.to.Version(ctx)
	if err != nil {
		return nil, err
	}
	var why []string
	for _, r := range sent {
		there, ok := madeBy(r, target)
		if !ok {
			continue
		}
		expected[there] = true
		status, answer, err := v.p.to.Do(ctx, http.MethodGet, statePath(there.What, there.Name), nil)
		if err != nil {
			return nil, err
		}
		have := ""
		if status != http.StatusNotFound {
			if err := v.p.to.Failed(status, answer); err != nil {
				return nil, err
			}
			have = definition(there, answer)
		}
		if have == "" {
			m.Kind, why = KindMissing, append(why, "the follower does not have it")
			continue
		}
		why = append(why, verify.Definition(gjson.ParseBytes(bytes.Clone(r.Body)), gjson.Parse(have), target.Major < 7)...)
	}
	if len(why) == 0 {
		return nil, nil
	}
	m.Why = strings.Join(why, "; ")
	return []Mismatch{m}, nil
}

// madeBy tells what a request defines.
func madeBy(r *esapi.Request, v esapi.Version) (stateRef, bool) {
	e := esapi.ParseEndpoint(r.Method, r.Path, v)
	switch e.API {
	case "indices.put_template":
		return stateRef{whatTemplate, e.Name}, true
	case "indices.put_index_template":
		return stateRef{whatIndexTemplate, e.Name}, true
	case "cluster.put_component_template":
		return stateRef{whatComponentTemplate, e.Name}, true
	case "ingest.put_pipeline":
		return stateRef{whatPipeline, e.ID}, true
	case "put_script", "put_template":
		return stateRef{whatScript, e.ID}, true
	}
	return stateRef{}, false
}

// extraDefinitions are those that only the follower has.
func (v *verification) extraDefinitions(ctx context.Context, expected map[stateRef]bool) ([]Mismatch, error) {
	var list []Mismatch
	for _, k := range definedKinds {
		names, err := v.defined(ctx, v.p.to, k)
		if err != nil {
			return nil, err
		}
		masters, err := v.defined(ctx, v.p.from, k)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if !expected[stateRef{k.what, name}] && !slices.Contains(masters, name) {
				list = append(list, Mismatch{What: k.what, Kind: KindExtra, Name: name,
					Why: "the master does not have it; it is not deleted by a repair: if nobody needs it, delete it at " + v.p.to.Name()})
			}
		}
	}
	return list, nil
}
