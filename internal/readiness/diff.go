package readiness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

const (
	maxDifferences = 5    // of two answers that are told
	scoreTolerance = 0.25 // of the best score on the page: majors score differently, and shards by what they hold
	percentileSlip = 0.05 // relative
	numberSlip     = 1e-6 // relative: sums of floating point numbers depend on their order
)

// A Difference is where two answers differ, by JSON pointer, with the values
// masked. An empty value is one that is not there.
type Difference struct {
	At       string `json:"at"`
	Master   string `json:"master"`
	Follower string `json:"follower"`
}

// A readAnswer is an answer of one cluster, in the client's dialect.
type readAnswer struct {
	status int
	body   []byte
}

// notCompared are members outside of documents that differ between any two
// clusters, or two runs.
var notCompared = setOf(`took timed_out _shards _scroll_id pit_id num_reduce_phases profile _seq_no _primary_term _node _shard
	_explanation explanation doc_count_error_upper_bound score max_score`)

// partial reports whether an answer does not tell all: shards failed, or time ran
// out.
func (a readAnswer) partial() bool {
	if a.status >= 500 || a.status == 429 {
		return true
	}
	partial := func(v gjson.Result) bool {
		return v.Get("timed_out").Bool() || v.Get("_shards.failed").Int() > 0
	}
	v := gjson.ParseBytes(a.body)
	return partial(v) || slices.ContainsFunc(v.Get("responses").Array(), partial)
}

// differences compares two answers. unordered says that the order of hits and the
// values they are sorted by mean nothing. ok is false if they are not JSON.
func differences(master, follower readAnswer, unordered bool) (found []Difference, ok bool) {
	if master.status != follower.status {
		return []Difference{{"status", strconv.Itoa(master.status), strconv.Itoa(follower.status)}}, true
	}
	if len(master.body) == 0 && len(follower.body) == 0 {
		return nil, true // of HEAD
	}
	if master.status >= 400 && gjson.GetBytes(master.body, "error").Exists() {
		a, b := gjson.GetBytes(master.body, "error.type").String(), gjson.GetBytes(follower.body, "error.type").String()
		if a != b {
			return []Difference{{"/error/type", clip(a), clip(b)}}, true
		}
		return nil, true
	}
	a, errA := decode(master.body)
	b, errB := decode(follower.body)
	if errA != nil || errB != nil {
		return nil, false
	}
	d := differ{unordered: unordered}
	d.value("", a, b)
	return d.found, true
}

func decode(body []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}

type differ struct {
	found     []Difference
	unordered bool
	document  bool    // inside of one: everything counts
	slip      float64 // that numbers may differ by, if more than numberSlip
}

func (d *differ) differ(at, master, follower string) {
	if len(d.found) < maxDifferences {
		d.found = append(d.found, Difference{clip(at), master, follower})
	}
}

// absent is what is not there.
type absent struct{}

func (d *differ) value(at string, a, b any) {
	switch a := a.(type) {
	case map[string]any:
		if b, ok := b.(map[string]any); ok {
			d.object(at, a, b)
			return
		}
	case []any:
		if b, ok := b.([]any); ok {
			d.array(at, a, b)
			return
		}
	case json.Number:
		if b, ok := b.(json.Number); ok && d.near(a, b) {
			return
		}
	default:
		if isScalar(b) && a == b {
			return
		}
	}
	d.differ(at, show(a), show(b))
}

func isScalar(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return false
	}
	return true
}

func (d *differ) near(a, b json.Number) bool {
	if a == b {
		return true
	}
	x, errX := a.Float64()
	y, errY := b.Float64()
	if errX != nil || errY != nil {
		return false
	}
	if d.document {
		return x == y && (strings.ContainsAny(string(a)+string(b), ".eE") || math.Abs(x) < 1<<53)
	}
	return math.Abs(x-y) <= max(d.slip, numberSlip)*max(math.Abs(x), math.Abs(y))
}

func (d *differ) array(at string, a, b []any) {
	if len(a) != len(b) {
		d.differ(at, fmt.Sprintf("%d elements", len(a)), fmt.Sprintf("%d elements", len(b)))
	}
	for i := range min(len(a), len(b)) {
		d.value(at+"/"+strconv.Itoa(i), a[i], b[i])
	}
}

func (d *differ) object(at string, a, b map[string]any) {
	if !d.document {
		la, okA := a["hits"].([]any)
		lb, okB := b["hits"].([]any)
		if okA && okB {
			d.hits(at, a, b, la, lb)
			return
		}
		if la, ok := a["buckets"].([]any); ok {
			if lb, ok := b["buckets"].([]any); ok {
				d.buckets(at, a, b, la, lb)
				return
			}
		}
	}
	d.members(at, a, b)
}

// members compares the members of two objects but for those left out.
func (d *differ) members(at string, a, b map[string]any, out ...string) {
	keys := map[string]bool{}
	for k := range a {
		keys[k] = true
	}
	for k := range b {
		keys[k] = true
	}
	sorted := make([]string, 0, len(keys))
	for k := range keys {
		if d.document || !notCompared[k] && !slices.Contains(out, k) {
			sorted = append(sorted, k)
		}
	}
	slices.Sort(sorted)
	for _, k := range sorted {
		if len(d.found) >= maxDifferences {
			return
		}
		d.member(at, k, a, b)
	}
}

func (d *differ) member(at, k string, a, b map[string]any) {
	before := *d
	switch k {
	case "_source", "fields", "highlight":
		d.document = true
	case "values":
		d.slip = percentileSlip
	}
	va, okA := a[k]
	vb, okB := b[k]
	if !okA {
		va = absent{}
	}
	if !okB {
		vb = absent{}
	}
	d.value(at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(k), va, vb)
	d.document, d.slip = before.document, before.slip
}

// hits compares hits by their ids: the order of equal ones is anybody's, and
// scores are compared with the page's best.
func (d *differ) hits(at string, a, b map[string]any, la, lb []any) {
	d.members(at, a, b, "hits")
	pa, okA := newPage(a, la)
	pb, okB := newPage(b, lb)
	if !okA || !okB {
		d.array(at+"/hits", la, lb)
		return
	}
	for i, key := range pa.keys {
		where := at + "/hits/" + strconv.Itoa(i)
		j, both := pb.at[key]
		if !both {
			if !pa.atTheEnd(i, d.unordered) {
				d.differ(where, "a hit", "")
			}
			continue
		}
		x, y := pa.hits[i], pb.hits[j]
		out := []string{"_score"}
		if d.unordered || pa.sortedByScore(i) {
			out = append(out, "sort")
		}
		d.members(where, x, y, out...)
		if math.Abs(pa.score(i)-pb.score(j)) > scoreTolerance {
			d.differ(where+"/_score", show(x["_score"]), show(y["_score"]))
		}
	}
	for j, key := range pb.keys {
		if _, both := pa.at[key]; !both && !pb.atTheEnd(j, d.unordered) {
			d.differ(at+"/hits/"+strconv.Itoa(j), "", "a hit")
		}
	}
}

// A page is the hits of one answer.
type page struct {
	hits []map[string]any
	keys []string
	at   map[string]int
	best float64
	cut  bool // there are more hits than those
}

func newPage(o map[string]any, list []any) (*page, bool) {
	p := &page{at: map[string]int{}}
	for i, e := range list {
		hit, ok := e.(map[string]any)
		if !ok || hit["_id"] == nil {
			return nil, false
		}
		key, _ := json.Marshal([]any{hit["_index"], hit["_id"], hit["_nested"]})
		p.hits, p.keys = append(p.hits, hit), append(p.keys, string(key))
		p.at[string(key)] = i
		p.best = max(p.best, number(hit["_score"]))
	}
	total := o["total"]
	if t, ok := total.(map[string]any); ok {
		total = t["value"]
	}
	p.cut = number(total) > float64(len(list)) || total == nil
	return p, true
}

func number(v any) float64 {
	n, _ := v.(json.Number)
	f, _ := n.Float64()
	return f
}

// score is a hit's score as a share of the best one's.
func (p *page) score(i int) float64 {
	if p.best <= 0 {
		return 0
	}
	return number(p.hits[i]["_score"]) / p.best
}

func (p *page) sortedByScore(i int) bool {
	values, _ := p.hits[i]["sort"].([]any)
	score := number(p.hits[i]["_score"])
	return score != 0 && slices.ContainsFunc(values, func(v any) bool { return number(v) == score })
}

// atTheEnd reports whether a hit may as well be on the next page: it is as good
// as the last one of this page.
func (p *page) atTheEnd(i int, unordered bool) bool {
	if !p.cut {
		return false
	}
	last := len(p.hits) - 1
	sort, sorted := p.hits[i]["sort"]
	if !sorted || unordered || p.sortedByScore(i) {
		return p.score(i)-p.score(last) <= scoreTolerance
	}
	x, _ := json.Marshal(sort)
	y, _ := json.Marshal(p.hits[last]["sort"])
	return bytes.Equal(x, y)
}

// buckets compares buckets by their keys, as the order of equal counts is
// anybody's.
func (d *differ) buckets(at string, a, b map[string]any, la, lb []any) {
	d.members(at, a, b, "buckets", "sum_other_doc_count")
	ka, kb := bucketsByKey(la), bucketsByKey(lb)
	if ka == nil || kb == nil {
		d.array(at+"/buckets", la, lb)
		return
	}
	more := number(a["sum_other_doc_count"]) > 0 || number(b["sum_other_doc_count"]) > 0
	asFew := func(bucket any, list []any) bool {
		count := func(v any) any { return v.(map[string]any)["doc_count"] }
		return more && count(bucket) == count(list[len(list)-1])
	}
	for i, bucket := range la {
		where := at + "/buckets/" + strconv.Itoa(i)
		if other, both := kb[bucketKey(bucket)]; both {
			d.value(where, bucket, other)
		} else if !asFew(bucket, la) {
			d.differ(where, "a bucket", "")
		}
	}
	for j, bucket := range lb {
		if _, both := ka[bucketKey(bucket)]; !both && !asFew(bucket, lb) {
			d.differ(at+"/buckets/"+strconv.Itoa(j), "", "a bucket")
		}
	}
}

func bucketKey(v any) string {
	bucket, ok := v.(map[string]any)
	if !ok || bucket["key"] == nil {
		return ""
	}
	key, _ := json.Marshal(bucket["key"])
	return string(key)
}

// bucketsByKey is nil if a bucket has no key, or two have the same.
func bucketsByKey(list []any) map[string]any {
	all := make(map[string]any, len(list))
	for _, b := range list {
		key := bucketKey(b)
		if _, twice := all[key]; key == "" || twice {
			return nil
		}
		all[key] = b
	}
	return all
}

// show is a value as it may be shown.
func show(v any) string {
	switch v := v.(type) {
	case absent:
		return ""
	case nil:
		return "null"
	case map[string]any:
		return "{" + masked + "}"
	case []any:
		return "[" + masked + "]"
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return maskText(string(v))
	case string:
		return maskText(v)
	}
	return masked
}
