package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ignored are members whose value is not compared, only whether it is there and
// of which kind.
var ignored = map[string]string{
	"took":                             "time",
	"time_in_nanos":                    "time",
	"creation_date":                    "time",
	"epoch":                            "time",
	"timestamp":                        "time",
	"_score":                           "scores depend on Lucene's version",
	"max_score":                        "scores depend on Lucene's version",
	"score":                            "scores depend on Lucene's version",
	"reason":                           "a text for humans",
	"uuid":                             "chance",
	"cluster_uuid":                     "chance",
	"_scroll_id":                       "a token",
	"pit_id":                           "a token",
	"_seq_no":                          "a token: on 5.x it is made from the version",
	"_primary_term":                    "a token, too",
	"cluster_name":                     "the cluster's own",
	"build_hash":                       "the cluster's own",
	"build_date":                       "the cluster's own",
	"build_timestamp":                  "the cluster's own",
	"build_flavor":                     "the cluster's own",
	"build_type":                       "the cluster's own",
	"lucene_version":                   "the cluster's own",
	"number_of_nodes":                  "the cluster's own",
	"version.created":                  "the cluster that made an index",
	"created":                          "the version of the cluster that made an index, below \"version\"; see isIgnored",
	"memory_in_bytes":                  "memory",
	"size_in_bytes":                    "bytes on the disk",
	"total_data_set_size_in_bytes":     "bytes on the disk",
	"_node":                            "a node's id",
	"node":                             "a node's id",
	"index_uuid":                       "chance",
	"shard":                            "of a document in an error: which one it is on depends on the version that made the index",
	"deleted":                          "of the documents in statistics: depends on when segments are merged",
	"throttled_millis":                 "time",
	"number_of_pending_tasks":          "depends on what was done just before",
	"number_of_in_flight_fetch":        "depends on what was done just before",
	"task_max_waiting_in_queue_millis": "time",
}

// differences lists what differs between two results; nothing means that they
// agree.
func differences(home, got []byte) []string {
	var d differ
	d.compare("", "", decode(home), decode(got))
	return d.found
}

// build is how warnings name what was built; the gateway is no build.
var build = regexp.MustCompile(`(Elasticsearch-\d+\.\d+\.\d+)-(?:[0-9a-f]{7,40}|unknown)`)

func decode(text []byte) any {
	d := json.NewDecoder(bytes.NewReader(build.ReplaceAll(text, []byte("$1"))))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return err.Error()
	}
	return v
}

// A differ collects differences.
type differ struct{ found []string }

func (d *differ) add(path, home, got string) {
	d.found = append(d.found, fmt.Sprintf("%s: home %s, gateway %s", strings.TrimPrefix(path, "."), home, got))
}

// compare compares the values of a member called name.
func (d *differ) compare(path, name string, home, got any) {
	switch h := home.(type) {
	case map[string]any:
		if g, ok := got.(map[string]any); ok {
			d.objects(path, name, h, g)
			return
		}
	case []any:
		if g, ok := got.([]any); ok && len(g) == len(h) {
			for i := range h {
				d.compare(path+"["+strconv.Itoa(i)+"]", name, h[i], g[i])
			}
			return
		}
	default:
		if equal(home, got) {
			return
		}
	}
	d.add(path, short(home), short(got))
}

func (d *differ) objects(path, name string, home, got map[string]any) {
	home, got = withoutTier(home), withoutTier(got)
	names := maps.Clone(home)
	maps.Copy(names, got)
	for _, member := range slices.Sorted(maps.Keys(names)) {
		h, atHome := home[member]
		g, here := got[member]
		at := path + "." + member
		switch {
		case (member == "took" || member == "_seq_no") && (!atHome || !here):
			// Go's libraries leave out a zero.
		case !atHome:
			d.add(at, "has none", short(g))
		case !here:
			d.add(at, short(h), "has none")
		case isIgnored(name, member, h):
			if kind(h) != kind(g) {
				d.add(at, short(h), short(g))
			}
		default:
			d.compare(at, member, h, g)
		}
	}
}

func isIgnored(parent, member string, value any) bool {
	if k := kind(value); k == "object" || k == "array" {
		return false
	}
	switch member {
	case "created":
		return parent == "version"
	case "deleted":
		return parent == "docs"
	}
	return ignored[strings.TrimPrefix(member, "index.")] != "" // flat settings
}

// withoutTier: the cluster gives an index a data tier by itself, from 7.10 on.
func withoutTier(settings map[string]any) map[string]any {
	const flat = "index.routing.allocation.include._tier_preference"
	if _, ok := settings[flat]; ok {
		settings = maps.Clone(settings)
		delete(settings, flat)
	}
	if short(settings["routing"]) == `{"allocation":{"include":{"_tier_preference":"data_content"}}}` {
		settings = maps.Clone(settings)
		delete(settings, "routing")
	}
	return settings
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
	}
	return "bool"
}

// equal compares leaves. Decimal numbers may differ in the last place: sums are
// added in another order.
func equal(home, got any) bool {
	h, isText := home.(string)
	g, gotText := got.(string)
	if isText && gotText {
		return maskText(h) == maskText(g)
	}
	n, isNumber := home.(json.Number)
	m, gotNumber := got.(json.Number)
	if !isNumber || !gotNumber || !strings.ContainsAny(n.String()+m.String(), ".eE") {
		return home == got
	}
	a, _ := n.Float64()
	b, _ := m.Float64()
	return math.Abs(a-b) <= 1e-9*math.Max(math.Abs(a), math.Abs(b))
}

var masks = []struct {
	is *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`(^|[^A-Za-z0-9_-])[A-Za-z0-9_-]{20}([A-Za-z0-9_-]{2})?($|[^A-Za-z0-9_-])`), "${1}ID$3"}, // made by chance
	{regexp.MustCompile(`\b\d+(\.\d+)?[kmg]?b\b`), "SIZE"},
}

// maskText hides in a text what ignored hides in JSON.
func maskText(s string) string {
	for _, m := range masks {
		s = m.is.ReplaceAllString(s, m.to)
	}
	return strings.Join(strings.Fields(s), " ") // the width of a column follows the longest value
}

func short(v any) string {
	b, _ := json.Marshal(v)
	if len(b) > 300 {
		return string(b[:300]) + "…"
	}
	return string(b)
}
