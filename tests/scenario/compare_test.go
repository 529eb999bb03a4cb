package scenario

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"mime"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// differences lists what differs between the answer at home and the one through
// the gateway, leaving out what ignored names; nothing means that they agree.
func differences(home, got *answer) []string {
	var d differ
	if home.status != got.status {
		d.add("status", home.status, got.status)
	}
	for _, h := range comparedHeaders {
		a, b := headerValue(home, h), headerValue(got, h)
		if a != b && (a != "" || h != "X-Elastic-Product") { // the gateway says it to older clients, too
			d.add("header "+h, a, b)
		}
	}
	a, aJSON := decode(home.body)
	b, bJSON := decode(got.body)
	switch {
	case aJSON && bJSON:
		d.compare("", "", a, b)
	default:
		if x, y := maskText(string(home.body)), maskText(string(got.body)); x != y {
			d.add("body", x, y)
		}
	}
	return d.found
}

// comparedHeaders are those that client libraries look at: official clients of
// 7.14 and later refuse to talk to a server without the product header.
var comparedHeaders = []string{"Content-Type", "X-Elastic-Product", "Location"}

func headerValue(a *answer, name string) string {
	v := a.header.Get(name)
	if name != "Content-Type" || v == "" {
		return automaticID.ReplaceAllString(v, "ID")
	}
	// The character set is spelled in two ways, and left out by some.
	media, params, err := mime.ParseMediaType(v)
	if err != nil {
		return v
	}
	if c := params["compatible-with"]; c != "" {
		media += ";compatible-with=" + c
	}
	return media
}

func decode(body []byte) (any, bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || d.More() {
		return nil, false
	}
	return v, true
}

// ignored are members whose value is not compared, only whether it is there and
// of which kind.
var ignored = map[string]string{
	"took":                                "time",
	"ingest_took":                         "time",
	"time_in_nanos":                       "time",
	"running_time_in_nanos":               "time",
	"start_time_in_millis":                "time",
	"creation_date":                       "time",
	"epoch":                               "time",
	"timestamp":                           "time",
	"task_max_waiting_in_queue_millis":    "time",
	"max_task_wait_time":                  "time",
	"_score":                              "scores depend on Lucene's version",
	"max_score":                           "scores depend on Lucene's version",
	"score":                               "scores depend on Lucene's version, also those of suggestions and significant terms",
	"bg_count":                            "depends on how a shard counts deleted documents",
	"explanation":                         "a text about Lucene's classes",
	"uuid":                                "chance",
	"index_uuid":                          "chance",
	"cluster_uuid":                        "chance",
	"_scroll_id":                          "a token",
	"id of a point in time":               "a token",
	"pit_id":                              "a token",
	"_seq_no":                             "a token: on 5.x it is made from the version; the conditional steps show that it works",
	"_primary_term":                       "a token, too",
	"cluster_name":                        "the cluster's own",
	"build_hash":                          "the cluster's own",
	"build_date":                          "the cluster's own",
	"build_timestamp":                     "the cluster's own",
	"build_flavor":                        "the cluster's own",
	"build_type":                          "the cluster's own",
	"lucene_version":                      "the cluster's own",
	"minimum_wire_compatibility_version":  "the cluster's own",
	"minimum_index_compatibility_version": "the cluster's own",
	"name":                                "of the node, at the root only; see nodeName",
	"node":                                "a node's id",
	"number_of_pending_tasks":             "depends on what was done just before",
	"number_of_in_flight_fetch":           "depends on what was done just before",
	"cluster":                             "the cluster's own",
	"num_freed":                           "of a cleared scroll: depends on the default number of shards",
	"number_of_shards":                    "its default was 5 before 7.0",
	"active_shards":                       "depends on the default number of shards",
	"active_primary_shards":               "depends on the default number of shards",
	"unassigned_shards":                   "depends on the default number of shards",
	"active_shards_percent_as_number":     "depends on the default number of shards",
	"store.size":                          "bytes on the disk",
	"pri.store.size":                      "bytes on the disk",
	"active_shards_percent":               "depends on the default number of shards",
	"pri":                                 "depends on the default number of shards",
	"unassign":                            "depends on the default number of shards",
	"shards":                              "depends on the default number of shards",
}

// countsOfShards are ignored below "_shards": an index of 5.x and 6.x has five
// shards by default, one of 7.0 and later has one.
var countsOfShards = []string{"total", "successful", "skipped"}

// A differ collects differences.
type differ struct{ found []string }

func (d *differ) add(path string, home, got any) {
	d.found = append(d.found, fmt.Sprintf("%s: home %s, gateway %s", path, short(home), short(got)))
}

func short(v any) string {
	var s string
	switch v := v.(type) {
	case string:
		s = v
	case nil:
		s = "null"
	default:
		b, _ := json.Marshal(v)
		s = string(b)
	}
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}

// compare compares the values of member key at path.
func (d *differ) compare(path, key string, home, got any) {
	switch h := home.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			d.add(path, home, got)
			return
		}
		switch key {
		case "error":
			d.errors(path, h, g)
		case "failures":
			d.errors(path, h, g)
		default:
			d.objects(path, key, h, g)
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(h) != len(g) {
			d.add(path, home, got)
			return
		}
		for i := range h {
			d.compare(path+"["+strconv.Itoa(i)+"]", key, h[i], g[i])
		}
	default:
		if !equalValues(key, home, got) {
			d.add(path, home, got)
		}
	}
}

func (d *differ) objects(path, key string, home, got map[string]any) {
	// The cluster gives an index a data tier by itself, from 7.10 on.
	home, got = withoutTier(home), withoutTier(got)
	if key == "nodes" && path == "nodes" {
		home, got = withoutNodeIDs(home), withoutNodeIDs(got)
	}
	names := maps.Clone(home)
	maps.Copy(names, got)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		h, inHome := home[name]
		g, inGot := got[name]
		at := strings.TrimPrefix(path+"."+name, ".")
		switch {
		case !inHome:
			d.found = append(d.found, fmt.Sprintf("%s: home has none, gateway %s", at, short(g)))
		case !inGot:
			d.found = append(d.found, fmt.Sprintf("%s: home %s, gateway has none", at, short(h)))
		case key == "_source" || key == "fields" || strings.HasSuffix(path, "._source"):
			// Documents have to be equal to the letter.
			if short(h) != short(g) {
				d.add(at, h, g)
			}
		case isIgnored(path, key, name, h):
			if kind(h) != kind(g) {
				d.add(at, h, g)
			}
		default:
			d.compare(at, name, h, g)
		}
	}
}

const tier = "_tier_preference"

func withoutTier(settings map[string]any) map[string]any {
	flat := "index.routing.allocation.include." + tier
	if _, ok := settings[flat]; ok {
		settings = maps.Clone(settings)
		delete(settings, flat)
	}
	if routing, ok := settings["routing"].(map[string]any); ok && short(routing) == `{"allocation":{"include":{"`+tier+`":"data_content"}}}` {
		settings = maps.Clone(settings)
		delete(settings, "routing")
	}
	return settings
}

// withoutNodeIDs gives the only node a name that is the same everywhere.
func withoutNodeIDs(nodes map[string]any) map[string]any {
	if len(nodes) != 1 {
		return nodes
	}
	for _, node := range nodes {
		return map[string]any{"NODE": node}
	}
	return nodes
}

func isIgnored(path, parent, name string, value any) bool {
	switch {
	case name == "explanation" || name == "_explanation":
		return true // a tree of texts about Lucene's classes
	case strings.HasPrefix(name, "index.") && slices.Contains([]string{"index.uuid", "index.creation_date", "index.version.created"}, name):
		return true // flat settings
	case parent == "_shards" && slices.Contains(countsOfShards, name):
		return true
	case name == "name":
		return path == "" // elsewhere a name is the application's
	case name == "id":
		return path == "" // of a point in time
	case name == "created" && parent == "version":
		return true // the version that created an index
	case name == "shards" && parent != "":
		return false
	}
	switch value.(type) {
	case map[string]any, []any:
		return false
	}
	if name == "_node" || name == "_shard" {
		return true // of an explained hit
	}
	_, ok := ignored[name]
	return ok
}

// kind tells values apart that a typed client would: a number from null.
func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case json.Number:
		return "number"
	case string:
		return "string"
	case bool:
		return "bool"
	}
	return "other"
}

// equalValues compares leaves. Decimal numbers may differ in the last place:
// sums are added in another order.
func equalValues(key string, home, got any) bool {
	if key == "reason" && kind(home) == kind(got) {
		return true // a text for humans
	}
	if key == "_id" && automaticID.MatchString(fmt.Sprint(home)) && automaticID.MatchString(fmt.Sprint(got)) {
		return true
	}
	h, isNumber := home.(json.Number)
	g, gotNumber := got.(json.Number)
	if !isNumber || !gotNumber {
		return home == got
	}
	if h == g {
		return true
	}
	if !strings.ContainsAny(h.String(), ".eE") || !strings.ContainsAny(g.String(), ".eE") {
		return false
	}
	a, _ := h.Float64()
	b, _ := g.Float64()
	return math.Abs(a-b) <= 1e-9*math.Max(math.Abs(a), math.Abs(b))
}

// automaticID is how an id looks that was not given by the application.
var automaticID = regexp.MustCompile(`[A-Za-z0-9_-]{20}`)

// errors compares two errors: their types, not what they tell.
func (d *differ) errors(path string, home, got map[string]any) {
	if h, g := home["type"], got["type"]; h != g {
		d.add(path+".type", h, fmt.Sprint(short(g), " (", short(got["reason"]), ")"))
	}
	// What failed on a shard has its error below "reason".
	if h, ok := home["reason"].(map[string]any); ok {
		g, _ := got["reason"].(map[string]any)
		d.errors(path+".reason", h, g)
	}
	for _, k := range []string{"root_cause", "failed_shards"} {
		if (home[k] == nil) != (got[k] == nil) {
			d.add(path+"."+k, home[k], got[k])
		}
	}
	// A node that passed the request on to another one shows up as a cause.
	if h, g := causes(home), causes(got); !slices.Equal(h, g) && !slices.Contains(append(h, g...), "remote_transport_exception") {
		d.add(path+".root_cause types", strings.Join(h, ","), strings.Join(g, ","))
	}
}

func causes(e map[string]any) (types []string) {
	list, _ := e["root_cause"].([]any)
	for _, c := range list {
		if m, ok := c.(map[string]any); ok {
			types = append(types, short(m["type"]))
		}
	}
	return slices.Compact(types)
}

var masks = []struct {
	is *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`(^|\s)[A-Za-z0-9_-]{22}(\s|$)`), "${1}UUID$2"},
	{regexp.MustCompile(`\b\d+(\.\d+)?[kmg]?b\b`), "SIZE"},
	{regexp.MustCompile(`[ \t]+`), " "}, // the width of a column follows the longest uuid or size
	{regexp.MustCompile(` ?\n`), "\n"},
	{regexp.MustCompile(`took: \d+`), "took: N"},
	{regexp.MustCompile(`_seq_no: \d+`), "_seq_no: N"},
}

// maskText hides in a text what ignored hides in JSON.
func maskText(s string) string {
	for _, m := range masks {
		s = m.is.ReplaceAllString(s, m.to)
	}
	return strings.TrimSpace(s)
}
