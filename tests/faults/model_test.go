package faults

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/tests/check"
	"github.com/esperanto-es/esperanto/tests/gateway"
)

var (
	modelSeed  = flag.Uint64("seed", 0, "seed of the model run; 0: a random one with -for, else always the same")
	modelSteps = flag.Int("ops", 200, "operations of a model run")
	modelFor   = flag.Duration("for", 0, "how long the model runs, over all pairs in turn")
)

// pairs are all ways from one major to another.
var pairs = func() (all []string) {
	for _, a := range "5678" {
		for _, b := range "5678" {
			if a != b {
				all = append(all, string(a)+"->"+string(b))
			}
		}
	}
	return all
}()

// versions of a pair: of 7.x the one with most modules, but beside 8.x the last.
func versions(pair string) (a, b string) {
	version := map[byte]string{'5': "5.6.16", '6': "6.8.23", '7': "7.10.2", '8': "8.7.1"}
	if strings.Contains(pair, "8") {
		version['7'] = "7.17.28"
	}
	return version[pair[0]], version[pair[len(pair)-1]]
}

// TestModel sends random operations through a gateway, moves the master and kills
// the gateway meanwhile, and predicts every answer's version and both clusters'
// documents in the end. Three pairs a day have their turn, by day; all of them
// with -for.
func TestModel(t *testing.T) {
	t.Parallel()
	seed := *modelSeed
	switch {
	case seed == 0 && *modelFor > 0:
		seed = rand.Uint64()
	case seed == 0:
		seed = 1
	}
	var turns []string
	switch today := time.Now().YearDay() % 4 * 3; {
	case *pairFlag != "":
		turns = []string{*pairFlag}
	case *modelFor > 0:
		turns = pairs
	default:
		turns = pairs[today : today+3]
	}
	end := time.Now().Add(*modelFor)
	began, total := time.Now(), map[string]int{}
	for round := 0; round == 0 || time.Now().Before(end) && !t.Failed(); round++ {
		for _, pair := range turns {
			if round > 0 && time.Now().After(end) || t.Failed() && *modelFor > 0 {
				break
			}
			t.Run(pair, func(t *testing.T) { modelRun(t, pair, seed, total) })
			seed++
		}
	}
	t.Logf("%.0f s, %v", time.Since(began).Seconds(), total)
}

// modelRun is one run of the model.
func modelRun(t *testing.T, pair string, seed uint64, total map[string]int) {
	a, b := versions(pair)
	r := shared(t, a, b)
	r.options = "grace 3s\nwrite_timeout 30s\nswitch_timeout 20s"
	m := &model{rig: r, d: dialectOf(a), both: dialectOf(b), random: rand.New(rand.NewPCG(seed, 0)), master: "a",
		aliases: map[string]string{}, counts: map[string]int{}, client: &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}}
	m.modules = hasModules(a) && hasModules(b)
	t.Logf("replay: -run TestModel -pair '%s' -seed %d -ops %d", pair, seed, *modelSteps)
	t.Cleanup(m.tell)
	m.g = r.start()
	for n := range *modelSteps {
		m.n = n
		m.step()
		if t.Failed() {
			break
		}
	}
	m.arrived()
	if !t.Failed() {
		check.Final{A: r.a, B: r.b, Prefix: r.prefix, Gateways: r.gateways, Ledger: &m.ledger}.Check(t)
	}
	if !t.Failed() {
		m.compareState()
	}
	documents, _ := m.ledger.Exact()
	t.Logf("%d documents, %.1f s, %v", documents, time.Since(r.began).Seconds(), m.counts)
	for what, n := range m.counts {
		total[what] += n
	}
}

// hasModules reports whether a version of the harness has painless and the
// processors of pipelines.
func hasModules(version string) bool { return dialectOf(version).script }

// A model knows what the clusters hold after each operation.
type model struct {
	*rig
	g       *gateway.Gateway
	d       dialect // of the client
	both    dialect // of the other cluster
	modules bool    // both clusters run scripts and pipelines
	random  *rand.Rand
	client  *http.Client
	ledger  check.Ledger
	mark    int64
	aliases map[string]string // alias → index
	piped   bool              // there is a pipeline
	stored  bool              // there is a stored script
	made    bool              // there is a template

	n       int
	slowest time.Duration // of the requests
	history []string
	counts  map[string]int
	master  string
	moving  chan error // not nil while the master is being moved
}

// operations with their weights.
var operations = []struct {
	weight int
	name   string
	do     func(*model)
}{
	{60, "document", (*model).single},
	{14, "bulk", (*model).bulk},
	{2, "malformed", (*model).malformed},
	{2, "automatic id", (*model).automatic},
	{3, "if_seq_no", (*model).ifSeqNo},
	{2, "create index", (*model).createIndex},
	{2, "delete index", (*model).deleteIndex},
	{3, "alias", (*model).alias},
	{3, "mapping", (*model).mapping},
	{2, "settings", (*model).settings},
	{2, "template", (*model).template},
	{2, "pipeline", (*model).pipeline},
	{2, "stored script", (*model).script},
	{2, "delete by query", (*model).deleteByQuery},
	{2, "update by query", (*model).updateByQuery},
	{1, "reindex", (*model).reindex},
	{3, "switchover", (*model).move},
	{1, "kill", (*model).kill},
}

func (m *model) step() {
	all := 0
	for _, o := range operations {
		all += o.weight
	}
	n := m.random.IntN(all)
	for _, o := range operations {
		if n -= o.weight; n < 0 {
			m.counts[o.name]++
			o.do(m)
			return
		}
	}
}

// wrong ends the run.
func (m *model) wrong(format string, args ...any) {
	m.Helper()
	m.Errorf("operation %d: "+format, append([]any{m.n}, args...)...)
}

// send sends a request, and writes it down with its answer. Nothing may fail
// without a reason: an answer from 500 on ends the run.
func (m *model) send(method, path, body string) (int, gjson.Result) {
	m.Helper()
	began := time.Now()
	status, b, err := gateway.Send(testContext(m.T), method, m.g.URL()+path, body)
	took := time.Since(began)
	m.slowest = max(m.slowest, took)
	m.history = append(m.history, fmt.Sprintf("%d %s %s %s\n    -> %d %.300s %v (%v)", m.n, method, path, body, status, b, err, took))
	if err != nil || status >= 500 || status == http.StatusTooManyRequests {
		m.wrong("%s", m.history[len(m.history)-1])
	}
	return status, gjson.ParseBytes(b)
}

// tell prints the history of a run that has failed.
func (m *model) tell() {
	if !m.Failed() && os.Getenv("MODEL_HISTORY") == "" {
		return
	}
	file := filepath.Join(os.TempDir(), m.prefix+"history")
	err := os.WriteFile(file, []byte(strings.Join(m.history, "\n")), 0o600)
	m.Logf("the whole history is in %s (%v); its end:\n%s", file, err, strings.Join(m.history[max(0, len(m.history)-30):], "\n"))
}

var modelIndices = []string{"one", "two", "three", "copy"}

func (m *model) someIndex() string { return m.prefix + modelIndices[m.random.IntN(len(modelIndices))] }

// An act is a write of one document.
type act struct {
	op     string // index, create, update, delete
	k      *check.Known
	path   string // the index or alias that is asked
	body   string
	params map[string]string
	to     check.State
	want   []int // statuses, if they can be predicted
	chosen bool  // the client chooses the version
	noop   bool  // nothing is to change
}

// document makes a write. k is what is known of it now.
func (m *model) document() act {
	index, id := m.someIndex(), fmt.Sprint(1+m.random.IntN(8))
	c := act{path: index, params: map[string]string{}}
	if alias := m.prefix + "alias" + fmt.Sprint(m.random.IntN(2)); m.aliases[alias] != "" && m.random.IntN(3) == 0 {
		index, c.path = m.aliases[alias], alias
	}
	// The second alias routes; documents with these ids are always routed so.
	if strings.HasSuffix(c.path, "alias1") || m.random.IntN(4) == 0 {
		id = "r" + id
		if !strings.HasSuffix(c.path, "alias1") {
			c.params["routing"] = "r1"
		}
	}
	c.k = m.ledger.Know(index, id)
	m.fill(&c)
	return c
}

func (m *model) source() (int64, map[string]any, string) {
	m.mark++
	color := []string{"red", "green", "blue"}[m.random.IntN(3)]
	text := fmt.Sprintf(`{"w":%d,"color":%q, "price":%d.50,"list":[{"a":%d},null]}`, m.mark, color, m.mark, m.mark%3)
	return m.mark, map[string]any{"w": m.mark, "color": color, "price": float64(m.mark) + 0.5, "list": []any{map[string]any{"a": m.mark % 3}, nil}}, text
}

// fill chooses what is done to the document.
func (m *model) fill(c *act) {
	mark, source, text := m.source()
	exists := !c.k.Acked.Deleted
	c.op, c.body, c.to = "index", text, check.State{Mark: mark, Source: source}
	kinds := 12
	if m.modules {
		kinds = 16
	}
	changed := maps.Clone(c.k.Acked.Source)
	if changed == nil {
		changed = map[string]any{}
	}
	part := fmt.Sprintf(`{"w":%d,"color":%q}`, mark, source["color"])
	switch m.random.IntN(kinds) {
	case 0:
		c.op = "create"
		c.want = []int{201}
		if exists {
			c.want = []int{409}
		}
	case 1, 2:
		c.op, c.body, c.to = "delete", "", check.State{Deleted: true}
	case 3:
		changed["w"], changed["color"] = mark, source["color"]
		c.op, c.body, c.to.Source = "update", `{"doc":`+part+`}`, changed
		c.want = []int{404}
		if exists {
			c.want = []int{200}
		}
	case 4:
		c.op, c.body = "update", `{"doc":`+part+`,"doc_as_upsert":true}`
		changed["w"], changed["color"] = mark, source["color"]
		c.to.Source = changed
	case 5:
		c.op, c.body = "update", `{"doc":`+part+`,"upsert":`+text+`}`
		if exists {
			changed["w"], changed["color"] = mark, source["color"]
			c.to.Source = changed
		}
	case 6:
		if !exists {
			return
		}
		c.op, c.body, c.noop = "update", fmt.Sprintf(`{"doc":{"w":%d}}`, c.k.Acked.Mark), true
		c.want = []int{200}
	case 7:
		c.external("external", max(0, c.k.Acked.Version)+int64(1+m.random.IntN(3)))
	case 8:
		c.external("external_gte", max(1, c.k.Acked.Version))
	case 9:
		if !exists || c.k.Acked.Version < 2 {
			return
		}
		c.external("external", c.k.Acked.Version-1)
		c.want = []int{409}
	case 12:
		if m.piped {
			source["piped"] = "yes"
			c.params["pipeline"] = m.prefix + "made"
		}
	case 13, 14, 15:
		m.scripted(c, exists, mark, changed)
	}
}

func (c *act) external(kind string, version int64) {
	c.params["version_type"], c.params["version"], c.chosen = kind, fmt.Sprint(version), true
}

// scripted updates a document by a script that changes it, leaves it or deletes
// it.
func (m *model) scripted(c *act, exists bool, mark int64, changed map[string]any) {
	if !exists {
		return
	}
	script := `"lang":"painless","inline":"ctx._source.w = params.w"`
	switch m.random.IntN(4) {
	case 0:
		script, c.noop = `"lang":"painless","inline":"ctx.op = 'none'"`, true
	case 1:
		script, c.to = `"lang":"painless","inline":"ctx.op = 'delete'"`, check.State{Deleted: true}
	case 2:
		changed["w"], c.to.Source = mark, changed
		if m.stored {
			script = fmt.Sprintf(`%q:%q`, map[bool]string{true: "stored", false: "id"}[m.d.major == 5], m.prefix+"made")
		}
	default:
		changed["w"], c.to.Source = mark, changed
	}
	if m.d.major > 5 {
		script = strings.Replace(script, `"inline"`, `"source"`, 1)
	}
	c.op, c.body = "update", fmt.Sprintf(`{"script":{%s,"params":{"w":%d}}}`, script, mark)
	c.want = []int{200}
}

// note checks an answer to a write against what is known, and remembers what it
// did.
func (m *model) note(c *act, status int, answer gjson.Result) {
	m.Helper()
	k := c.k
	if len(c.want) > 0 && !slices.Contains(c.want, status) {
		m.wrong("%s %s/%s: answered %d, not %v: %.300s; it was %+v", c.op, k.Index, k.ID, status, c.want, answer.Raw, k.Acked)
	}
	if status >= 300 && answer.Get("result").Str != "not_found" {
		return
	}
	version := answer.Get("_version").Int()
	before := k.Acked.Version
	known := before > 0 || k.Acked.Deleted && before == 0
	if c.noop || answer.Get("result").Str == "noop" {
		if !c.noop || known && version != before {
			m.wrong("%s %s/%s: a noop at version %d: %.300s; it was %+v", c.op, k.Index, k.ID, version, answer.Raw, k.Acked)
		}
		return
	}
	if want := c.params["version"]; c.chosen && want != fmt.Sprint(version) {
		m.wrong("%s %s/%s: version %d: %.300s; %s was chosen", c.op, k.Index, k.ID, version, answer.Raw, want)
	}
	// A deletion may be forgotten, by one cluster and not by the other, and its version is not carried over shortly
	// after the deletion of an index of that name.
	if again := k.Acked.Deleted && version <= max(before, k.Highest+1); !c.chosen && known && version != before+1 && !again {
		m.wrong("%s %s/%s: version %d: %.300s; it was %+v", c.op, k.Index, k.ID, version, answer.Raw, k.Acked)
	}
	k.Acked = c.to
	k.Acked.Version, k.Highest = version, max(k.Highest, version)
	if strings.HasPrefix(k.ID, "r") {
		k.Acked.Routing = "r1"
	}
}

func (m *model) single() {
	c := m.document()
	method, path, params := "PUT", m.d.doc(c.path, c.k.ID), []string{}
	switch c.op {
	case "delete":
		method = "DELETE"
	case "update":
		method, path = "POST", m.d.update(c.path, c.k.ID)
	case "create":
		params = append(params, "op_type=create")
	}
	for _, key := range slices.Sorted(maps.Keys(c.params)) {
		params = append(params, key+"="+c.params[key])
	}
	if len(params) > 0 {
		path += "?" + strings.Join(params, "&")
	}
	status, answer := m.send(method, path, c.body)
	m.note(&c, status, answer)
}

// bulk sends writes of several documents.
func (m *model) bulk() {
	var body strings.Builder
	var acts []act
	seen := map[*check.Known]bool{}
	piped, updated := false, false
	for range 1 + m.random.IntN(15) {
		c := m.document()
		// 6.8 fails updates with an upsert in a bulk that names a pipeline elsewhere.
		pipes, updates := c.params["pipeline"] != "", c.op == "update"
		if seen[c.k] || pipes && updated || updates && piped {
			continue
		}
		seen[c.k], piped, updated = true, piped || pipes, updated || updates
		more := ""
		for _, key := range slices.Sorted(maps.Keys(c.params)) {
			value := c.params[key]
			if key != "version" {
				value = fmt.Sprintf("%q", value)
			}
			more += fmt.Sprintf(`,%q:%s`, key, value)
		}
		acts = append(acts, c)
		body.WriteString(m.d.action(c.op, c.path, c.k.ID, more))
		if c.op != "delete" {
			body.WriteString(c.body + "\n")
		}
	}
	status, answer := m.send("POST", "/_bulk", body.String())
	items := answer.Get("items").Array()
	if status != 200 || len(items) != len(acts) {
		m.wrong("a bulk of %d: %d %.300s", len(acts), status, answer.Raw)
		return
	}
	for i := range acts {
		item := items[i].Get(acts[i].op)
		m.note(&acts[i], int(item.Get("status").Int()), item)
	}
}

// malformed sends what is no document, and what the mapping may not take.
func (m *model) malformed() {
	index := m.someIndex()
	if m.random.IntN(2) == 0 {
		if status, _ := m.send("PUT", m.d.doc(index, "1"), `{"w":1,"color":`); status != 400 {
			m.wrong("no JSON: %d", status)
		}
		return
	}
	c := act{op: "index", path: index, k: m.ledger.Know(index, "m"+fmt.Sprint(m.random.IntN(3)))}
	mark, source, text := m.source()
	source["when"] = []any{"no date", "2020-01-01", float64(17)}[m.random.IntN(3)]
	when := fmt.Sprintf(`"%v"`, source["when"])
	if source["when"] == float64(17) {
		when = "17"
	}
	c.to = check.State{Mark: mark, Source: source}
	status, answer := m.send("PUT", m.d.doc(index, c.k.ID), text[:len(text)-1]+`,"when":`+when+`}`)
	m.note(&c, status, answer)
}

func (m *model) automatic() {
	mark, source, text := m.source()
	index := m.someIndex()
	status, answer := m.send("POST", "/"+index+"/"+m.d.typ(), text)
	if status != 201 {
		m.wrong("a document without an id: %d", status)
		return
	}
	m.ledger.Know(index, answer.Get("_id").Str).Acked = check.State{Mark: mark, Source: source, Version: 1}
}

// ifSeqNo writes a document on the condition that it is as it was read, and once
// more, which must fail. A switchover in between changes the numbers.
func (m *model) ifSeqNo() {
	c := act{op: "index", path: m.someIndex()}
	c.k = m.ledger.Know(c.path, fmt.Sprint(1+m.random.IntN(8)))
	if c.k.Acked.Deleted {
		return
	}
	mark, source, text := m.source()
	c.to = check.State{Mark: mark, Source: source}
	path := m.d.doc(c.path, c.k.ID)
	if m.d.major == 5 {
		if c.k.Acked.Version == 0 {
			return
		}
		path += "?version=" + fmt.Sprint(c.k.Acked.Version)
		c.want = []int{200}
	} else {
		m.arrived()
		_, got := m.send("GET", path, "")
		path += fmt.Sprintf("?if_seq_no=%d&if_primary_term=%d", got.Get("_seq_no").Int(), got.Get("_primary_term").Int())
		if !got.Get("_seq_no").Exists() {
			return // the cluster has none
		}
		c.want = []int{200}
	}
	status, answer := m.send("PUT", path, text)
	m.note(&c, status, answer)
	if status, _ := m.send("PUT", path, text); status != 409 {
		m.wrong("a condition that does not hold any more: %d", status)
	}
}

func (m *model) createIndex() {
	index := m.someIndex()
	body := fmt.Sprintf(`{"settings":{"number_of_shards":%d,"number_of_replicas":0},"mappings":%s}`, 1+m.random.IntN(2),
		m.d.mappings(`{"w":{"type":"long"},"color":{"type":"keyword"},"when":{"type":"date"}}`))
	m.send("PUT", "/"+index, body)
}

func (m *model) deleteIndex() { m.delete(m.someIndex()) }

func (m *model) delete(index string) {
	if status, _ := m.send("DELETE", "/"+index, ""); status != 200 {
		return
	}
	m.ledger.Forget(index)
	for alias, of := range m.aliases {
		if of == index {
			delete(m.aliases, alias)
		}
	}
}

// alias adds, moves or removes one of two aliases.
func (m *model) alias() {
	n := m.random.IntN(2)
	alias, index := fmt.Sprint(m.prefix, "alias", n), m.someIndex()
	add := fmt.Sprintf(`{"add":{"index":%q,"alias":%q}}`, index, alias)
	if n == 1 {
		add = fmt.Sprintf(`{"add":{"index":%q,"alias":%q,"routing":"r1","filter":{"term":{"color":"red"}}}}`, index, alias)
	}
	old := m.aliases[alias]
	remove := fmt.Sprintf(`{"remove":{"index":%q,"alias":%q}}`, old, alias)
	switch {
	case old == "":
		if status, _ := m.send("POST", "/_aliases", `{"actions":[`+add+`]}`); status == 200 {
			m.aliases[alias] = index
		}
	case m.random.IntN(3) == 0:
		if status, _ := m.send("POST", "/_aliases", `{"actions":[`+remove+`]}`); status == 200 {
			delete(m.aliases, alias)
		}
	case old != index:
		if status, _ := m.send("POST", "/_aliases", `{"actions":[`+remove+`,`+add+`]}`); status == 200 {
			m.aliases[alias] = index
		}
	}
}

func (m *model) mapping() {
	path := "/" + m.someIndex() + "/_mapping"
	if m.d.major < 7 {
		path += "/book"
	}
	kind := []string{"keyword", "long", "text"}[m.random.IntN(3)]
	m.send("PUT", path, fmt.Sprintf(`{"properties":{"f%d":{"type":%q}}}`, m.random.IntN(5), kind))
}

func (m *model) settings() {
	m.send("PUT", "/"+m.someIndex()+"/_settings", fmt.Sprintf(`{"index":{"refresh_interval":"%ds","max_result_window":%d}}`, 1+m.random.IntN(9), 10_000+m.random.IntN(9)))
}

// template makes or deletes a template for one of the indices. The follower must
// have everything before and after: an index that is carried over when a younger
// template is there already gets that one's fields (docs/roadmap.md).
func (m *model) template() {
	m.settled()
	defer m.settled()
	if m.made && m.random.IntN(3) == 0 {
		m.send("DELETE", "/_template/"+m.prefix+"made", "")
		m.made = false
		return
	}
	pattern := fmt.Sprintf(`"index_patterns":[%q]`, m.prefix+"t*")
	if m.d.major == 5 {
		pattern = fmt.Sprintf(`"template":%q`, m.prefix+"t*")
	}
	status, answer := m.send("PUT", "/_template/"+m.prefix+"made", fmt.Sprintf(`{%s,"settings":{"number_of_shards":%d},"mappings":%s}`,
		pattern, 1+m.random.IntN(3), m.d.mappings(`{"fromtemplate":{"type":"keyword"},"when":{"type":"keyword"}}`)))
	if status != 200 {
		m.wrong("a template: %d %s", status, answer.Raw)
	}
	m.made = true
}

// settled waits until the follower has everything.
func (m *model) settled() {
	m.arrived()
	ctx, cancel := context.WithTimeout(m.Context(), longest)
	defer cancel()
	if err := m.g.WaitApplied(ctx); err != nil {
		m.wrong("%v", err)
	}
}

func (m *model) pipeline() {
	if !m.modules {
		return
	}
	if m.piped {
		m.send("DELETE", "/_ingest/pipeline/"+m.prefix+"made", "")
		m.piped = false
		return
	}
	status, _ := m.send("PUT", "/_ingest/pipeline/"+m.prefix+"made", `{"processors":[{"set":{"field":"piped","value":"yes"}}]}`)
	m.piped = status == 200
}

func (m *model) script() {
	if !m.modules {
		return
	}
	if m.stored {
		m.send("DELETE", "/_scripts/"+m.prefix+"made", "")
		m.stored = false
		return
	}
	body := `{"script":{"lang":"painless","source":"ctx._source.w = params.w"}}`
	if m.d.major == 5 {
		body = strings.Replace(body, `"source"`, `"code"`, 1)
	}
	status, _ := m.send("PUT", "/_scripts/"+m.prefix+"made", body)
	m.stored = status == 200
}

// found are the documents of an index that a query finds.
func (m *model) found(index, color string) (all []*check.Known) {
	for _, k := range m.ledger.Of(index) {
		if !k.Acked.Deleted && k.Acked.Source["color"] == color {
			all = append(all, k)
		}
	}
	return all
}

func (m *model) byQuery(path, index, color, count string) (found []*check.Known) {
	m.send("POST", "/"+index+"/_refresh", "")
	status, answer := m.send("POST", "/"+index+path, fmt.Sprintf(`{"query":{"match":{"color":%q}}}`, color))
	found = m.found(index, color)
	if status == 404 && len(found) == 0 { // no such index
		return nil
	}
	if status != 200 || answer.Get(count).Int() != int64(len(found)) || len(answer.Get("failures").Array()) > 0 {
		m.wrong("%s of %d documents: %d %s", path, len(found), status, answer.Raw)
	}
	return found
}

func (m *model) deleteByQuery() {
	for _, k := range m.byQuery("/_delete_by_query", m.someIndex(), "red", "deleted") {
		if k.Acked.Version++; k.Acked.Version == 1 {
			k.Acked.Version = -1 // what it was is not known
		}
		k.Acked.Deleted, k.Acked.Source, k.Acked.Mark = true, nil, 0
	}
}

func (m *model) updateByQuery() {
	for _, k := range m.byQuery("/_update_by_query", m.someIndex(), "green", "updated") {
		if k.Acked.Version > 0 {
			k.Acked.Version++
		}
	}
}

// reindex copies an index. If some documents do not fit into the mapping there,
// it is not known which were copied before that was noticed: the copy is deleted.
func (m *model) reindex() {
	from, to := m.prefix+modelIndices[m.random.IntN(3)], m.prefix+"copy"
	m.send("POST", "/"+from+"/_refresh", "")
	status, answer := m.send("POST", "/_reindex", fmt.Sprintf(`{"source":{"index":%q},"dest":{"index":%q}}`, from, to))
	if status != 200 || len(answer.Get("failures").Array()) > 0 {
		m.delete(to)
		return
	}
	for _, k := range m.ledger.Of(from) {
		if !k.Acked.Deleted {
			state := k.Acked
			state.Version = 0
			m.ledger.Know(to, k.ID).Acked = state
		}
	}
}

// move moves the master, while operations go on.
func (m *model) move() {
	m.arrived()
	m.master = map[string]string{"a": "b", "b": "a"}[m.master]
	m.history = append(m.history, fmt.Sprintf("%d the master is moved to %s", m.n, m.master))
	m.moving = make(chan error, 1)
	go func(to string, moved chan<- error) { moved <- m.switchTo(to) }(m.master, m.moving)
}

// switchTo moves the master, again while it is refused because an index is resynced: it says to wait for that.
func (m *model) switchTo(to string) error {
	for end := time.Now().Add(longest); ; time.Sleep(100 * time.Millisecond) {
		status, body, err := m.g.AdminRequest(context.Background(), "POST", "/esperanto/switchover", fmt.Sprintf(`{"master":%q}`, to))
		switch {
		case err != nil || status == http.StatusOK:
			return err
		case !strings.Contains(string(body), "resync") || time.Now().After(end):
			return errors.New(string(body))
		}
	}
}

// arrived waits until the master has been moved.
func (m *model) arrived() {
	if m.moving == nil {
		return
	}
	began := time.Now()
	if err := <-m.moving; err != nil {
		m.wrong("moving the master to %s: %v", m.master, err)
	}
	m.history = append(m.history, fmt.Sprintf("%d the master is %s (waited %v)", m.n, m.master, time.Since(began)))
	m.moving = nil
}

func (m *model) kill() {
	m.arrived()
	began := time.Now()
	m.restart(m.g)
	m.history = append(m.history, fmt.Sprintf("%d the gateway was killed (%v)", m.n, time.Since(began)))
}

// compareState compares what both clusters' indices are made of, as the client
// sees it through the gateway.
func (m *model) compareState() {
	first := m.state()
	m.move()
	m.arrived()
	if second := m.state(); !slices.Equal(first, second) {
		m.wrong("the state differs with the master; only before:\n%s\nonly now:\n%s",
			strings.Join(without(first, second), "\n"), strings.Join(without(second, first), "\n"))
	}
}

func without(list, others []string) (left []string) {
	for _, s := range list {
		if !slices.Contains(others, s) {
			left = append(left, s)
		}
	}
	return left
}

// state lists fields, aliases and settings.
func (m *model) state() []string {
	var all []string
	_, indices := m.send("GET", "/"+m.prefix+"*", "")
	indices.ForEach(func(name, index gjson.Result) bool {
		mappings := index.Get("mappings")
		if m.d.major < 7 {
			mappings = mappings.Get("*")
		}
		all = append(all, fields(name.Str, mappings)...)
		index.Get("aliases").ForEach(func(alias, a gjson.Result) bool {
			all = append(all, fmt.Sprintf("%s alias %s %s", name.Str, alias.Str, a.Get("@ugly").Raw))
			return true
		})
		for _, key := range []string{"number_of_shards", "refresh_interval", "max_result_window"} {
			all = append(all, fmt.Sprintf("%s %s %s", name.Str, key, index.Get("settings.index."+key).String()))
		}
		return true
	})
	_, templates := m.send("GET", "/_template/"+m.prefix+"*", "")
	templates.ForEach(func(name, t gjson.Result) bool {
		all = append(all, fmt.Sprintf("template %s %s%s", name.Str, t.Get("index_patterns").Raw, t.Get("template").Raw))
		return true
	})
	slices.Sort(all)
	return all
}

// fields lists the fields of a mapping with their types.
func fields(at string, mapping gjson.Result) (all []string) {
	for _, key := range []string{"properties", "fields"} {
		mapping.Get(key).ForEach(func(name, field gjson.Result) bool {
			path := at + "." + name.Str
			all = append(all, path+" "+field.Get("type").String())
			all = append(all, fields(path, field)...)
			return true
		})
	}
	return all
}
