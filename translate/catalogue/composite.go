package catalogue

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// The composite aggregation on clusters that lack it: an aggregation by the first
// source that holds one by the second, and so on, each ordered by its key. What
// lies behind the key to go on after is found in branches: one for each number of
// leading values that a bucket may share with it.

func init() {
	translate.Register(&Change{
		ID: "AGG-34", Name: "CompositeAppeared", Since: V(6, 1),
		Doc:       "The aggregation composite pages through the combinations of the values of several fields.",
		OldClient: nothing,
		NewClient: Direction{Fidelity: translate.Lossy, Loses: "composite with missing_bucket, inside of another aggregation and in other APIs than the search is refused; dates with a format and a time zone are texts of that zone, which 6.x wrote in UTC",
			Request: []Rule{
				at(translate.Aggregation("composite"), func(x *Exchange, _ *Node) error {
					if x.Asked.API != "search" {
						return x.Refuse("the aggregation composite in another API than the search")
					}
					seen, _ := x.Noted(compositesNote).(int)
					x.Note(compositesNote, seen+1)
					return nil
				}),
				at(translate.RequestEnd, func(x *Exchange, _ *Node) error {
					seen, _ := x.Noted(compositesNote).(int)
					if seen == 0 {
						return nil
					}
					types, err := typesOf(x)
					if err != nil {
						return err
					}
					composites, err := compositesIn(x, aggsOf(gjson.ParseBytes(x.RequestBody)), types)
					if err != nil {
						return err
					}
					if len(composites) != seen {
						return x.Refuse("the aggregation composite inside of another one")
					}
					x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
						return searchComposites(ctx, x, composites, r, next)
					})
					return nil
				}),
			}},
	})
}

const (
	compositesNote = "composite aggregations"

	maxBuckets = 65_536 // in a page, as search.max_buckets is by default

	maxSources = 16 // each branch has all sources in it, one below the other

	fewValues = 10     // of each source but the last are asked for at first
	maxValues = 40_960 // of a source are asked for at most
)

// A composite is one composite aggregation of a search.
type composite struct {
	name    string
	size    int
	sources []compositeSource
	after   bool
	below   gjson.Result // the aggregations in each bucket
	meta    gjson.Result
}

type compositeSource struct {
	name  string
	kind  string // "terms", "histogram" or "date_histogram"
	body  gjson.Result
	field string // "" for a script
	typ   string // of the field
	desc  bool
	after gjson.Result // the value to go on after
}

// aggsOf are the aggregations in a search or an aggregation.
func aggsOf(o gjson.Result) gjson.Result {
	if a := o.Get("aggs"); a.Exists() {
		return a
	}
	return o.Get("aggregations")
}

func compositesIn(x *Exchange, aggs gjson.Result, types map[string]string) (all []composite, err error) {
	aggs.ForEach(func(name, agg gjson.Result) bool {
		if spec := agg.Get("composite"); spec.IsObject() {
			c := composite{name: name.String(), size: 10, below: aggsOf(agg), meta: agg.Get("meta"), after: spec.Get("after").IsObject()}
			if size := spec.Get("size"); size.Exists() {
				c.size = int(max(size.Int(), 0))
			}
			if x.Client.AtLeast(V(7, 0)) && c.size > maxBuckets {
				err = &esapi.Error{Status: http.StatusServiceUnavailable, Type: "too_many_buckets_exception",
					Reason: fmt.Sprintf("Trying to create too many buckets. Must be less than or equal to: [%d] but was [%d]", maxBuckets, c.size)}
				return false
			}
			c.sources, err = compositeSources(x, spec, types)
			all = append(all, c)
		}
		return err == nil
	})
	return all, err
}

func compositeSources(x *Exchange, spec gjson.Result, types map[string]string) (sources []compositeSource, err error) {
	spec.Get("sources").ForEach(func(_, named gjson.Result) bool {
		named.ForEach(func(name, of gjson.Result) bool {
			of.ForEach(func(kind, body gjson.Result) bool {
				s := compositeSource{name: name.String(), kind: kind.String(), body: body, field: body.Get("field").String(), desc: body.Get("order").String() == "desc"}
				s.typ = types[s.field]
				switch {
				case s.kind != "terms" && s.kind != "histogram" && s.kind != "date_histogram":
					err = x.Refuse("a composite aggregation by %s", s.kind)
				case len(sources) == maxSources:
					err = x.Refuse("a composite aggregation with more than %d sources", maxSources)
				case isTrue(body.Get("missing_bucket")):
					err = x.Refuse("missing_bucket in a composite aggregation")
				case slices.ContainsFunc(sources, func(o compositeSource) bool { return o.name == s.name }):
					err = esapi.IllegalArgument("Composite source names must be unique, found duplicates: [" + s.name + "]")
				}
				if after := spec.Get("after"); after.IsObject() && err == nil {
					if s.after = member(after, s.name); !s.after.Exists() {
						err = esapi.IllegalArgument("Missing value for [after." + s.name + "]")
					}
				}
				sources = append(sources, s)
				return err == nil
			})
			return err == nil
		})
		return err == nil
	})
	switch {
	case err != nil:
	case !spec.Get("sources").Exists():
		err = esapi.IllegalArgument("Required [sources]")
	case len(sources) == 0:
		err = esapi.IllegalArgument("Composite [sources] cannot be null or empty")
	}
	return sources, err
}

// searchComposites sends a search with others in place of its composites, with
// more and more values, until each has all its buckets.
func searchComposites(ctx context.Context, x *Exchange, composites []composite, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	for values := fewValues; values <= maxValues; values *= 8 {
		sent := *r
		sent.Body = withBranches(r.Body, composites, values)
		a, body, err := sendWhole(ctx, &sent, next)
		if err != nil {
			return nil, err
		}
		answer := translate.NewNode(string(body))
		results := answer.Get("aggregations")
		if a.Status >= 300 || !results.IsObject() {
			return withBody(a, body), nil
		}
		var whole object
		enough := true
		results.ForEach(func(key, result gjson.Result) bool {
			prefix, name := "", key.String()
			if kind, rest, typed := strings.Cut(name, "#"); typed && slices.ContainsFunc(composites, func(c composite) bool { return c.name == rest }) && kind == "filter" {
				prefix, name = "composite#", rest
			}
			i := slices.IndexFunc(composites, func(c composite) bool { return c.name == name })
			if i < 0 {
				whole.set(key.String(), result.Raw)
				return true
			}
			merged, ok := composites[i].merge(result, values)
			enough = enough && ok
			whole.set(prefix+name, merged)
			return enough
		})
		if enough {
			answer.Set("aggregations", whole.String())
			return withBody(a, []byte(answer.Raw())), nil
		}
	}
	return nil, x.Refuse("a composite aggregation of fields with more than %d values in front of the page", maxValues)
}

// withBranches puts the branches in the place of the composites.
func withBranches(body []byte, composites []composite, values int) []byte {
	search := translate.NewNode(string(body))
	for _, key := range []string{"aggs", "aggregations"} {
		edit(search, key, func(aggs *Node) {
			for _, c := range composites {
				if aggs.Has(c.name) {
					aggs.Set(c.name, c.branches(values))
				}
			}
		})
	}
	return []byte(search.Raw())
}

// branches is the aggregation that stands for c.
func (c *composite) branches(values int) string {
	var branches object
	for shared := range c.branchCount() {
		filter := `{"match_all":{}}`
		if c.after {
			var clauses []string
			for i, s := range c.sources[:shared+1] {
				if clause := s.filter(i < shared); clause != "" {
					clauses = append(clauses, clause)
				}
			}
			filter = `{"bool":{"filter":[` + strings.Join(clauses, ",") + `]}}`
		}
		branches.set(branchName(shared), `{"filter":`+filter+`,"aggs":{"by":`+c.level(0, values)+`}}`)
	}
	var o object
	o.set("filter", `{"match_all":{}}`)
	o.set("aggs", branches.String())
	if c.meta.Exists() {
		o.set("meta", c.meta.Raw)
	}
	return o.String()
}

// branchCount is the number of branches: the first page needs one.
func (c *composite) branchCount() int {
	if c.after {
		return len(c.sources)
	}
	return 1
}

func branchName(shared int) string { return "shares" + itoa(shared) }

// level is the aggregation by a source and all behind it.
func (c *composite) level(i, values int) string {
	s := c.sources[i]
	body := translate.NewNode(s.body.Raw)
	for _, key := range []string{"order", "missing_bucket", "missing_order"} {
		body.Drop(key)
	}
	direction := "asc"
	if s.desc {
		direction = "desc"
	}
	if s.kind == "terms" {
		body.Set("order", `{"_term":"`+direction+`"}`)
		body.Set("size", itoa(c.valuesOf(i, values)))
	} else {
		body.Set("order", `{"_key":"`+direction+`"}`)
		body.Set("min_doc_count", "1")
	}
	below := ""
	switch {
	case i < len(c.sources)-1:
		below = `,"aggs":{"by":` + c.level(i+1, values) + `}`
	case c.below.IsObject():
		below = `,"aggs":` + c.below.Raw
	}
	return `{"` + s.kind + `":` + body.Raw() + below + `}`
}

// valuesOf is how many values of a source are asked for.
func (c *composite) valuesOf(i, values int) int {
	if i == len(c.sources)-1 {
		return max(values, c.size)
	}
	return values
}

// filter matches the documents that may have a value equal to that of the after
// key, or one behind it; "" if they cannot be told.
func (s *compositeSource) filter(equal bool) string {
	if s.field == "" || s.body.Get("script").Exists() {
		return `{"match_all":{}}`
	}
	after := s.after.Raw
	var bounds object
	switch {
	case s.kind != "terms" && s.desc && !equal:
		bounds.set("lt", after)
	case s.kind != "terms": // a bucket begins with its key
		bounds.set("gte", after)
	case equal && s.typ != "date":
		return `{"term":{` + translate.Quote(s.field) + `:` + after + `}}`
	case equal:
		bounds.set("gte", after)
		bounds.set("lte", after)
	case s.desc:
		bounds.set("lt", after)
	default:
		bounds.set("gt", after)
	}
	switch {
	case s.kind == "date_histogram" && s.formatted():
		bounds.set("format", s.body.Get("format").Raw)
		if zone := s.body.Get("time_zone"); zone.Exists() {
			bounds.set("time_zone", zone.Raw)
		}
	case s.kind == "date_histogram" || s.typ == "date":
		bounds.set("format", `"epoch_millis"`)
	}
	return `{"range":{` + translate.Quote(s.field) + `:` + bounds.String() + `}}`
}

// formatted reports whether the source's values are shown as texts.
func (s *compositeSource) formatted() bool {
	return s.kind == "date_histogram" && s.body.Get("format").Exists()
}

// value is what a bucket's key is in a composite.
func (s *compositeSource) value(bucket gjson.Result) gjson.Result {
	switch key := bucket.Get("key"); {
	case s.formatted():
		return bucket.Get("key_as_string")
	case s.typ == "boolean" && s.kind == "terms" && key.Type == gjson.Number:
		return gjson.Parse(jsonBool(key.Num != 0))
	default:
		return key
	}
}

// compare tells whether a bucket stands in front of the after key (-1), is equal
// to it, or stands behind it.
func (s *compositeSource) compare(bucket gjson.Result) int {
	v, c := s.value(bucket), 0
	own, readable := s.instant(v)
	after, known := s.instant(s.after)
	switch {
	case readable && known && own == bucket.Get("key").Int(): // the text is read as it was written
		c = cmp.Compare(own, after)
	case v.Type == gjson.Number && s.after.Type == gjson.Number:
		switch {
		case v.Raw == s.after.Raw || v.Num == s.after.Num && v.Int() == s.after.Int():
		case v.Num < s.after.Num || v.Num == s.after.Num && v.Int() < s.after.Int():
			c = -1
		default:
			c = 1
		}
	case v.String() == s.after.String():
	case s.formatted():
		return 1 // the documents were filtered, and texts are not ordered as dates
	case s.typ == "ip":
		a, err := netip.ParseAddr(v.String())
		b, err2 := netip.ParseAddr(s.after.String())
		if err == nil && err2 == nil {
			x, y := a.As16(), b.As16()
			c = slices.Compare(x[:], y[:])
		}
	default:
		c = strings.Compare(v.String(), s.after.String()) // of the words false and true, too
	}
	if s.desc {
		return -c
	}
	return c
}

// instant reads a text that stands for a date, in milliseconds.
func (s *compositeSource) instant(text gjson.Result) (int64, bool) {
	if !s.formatted() || text.Type != gjson.String {
		return 0, false
	}
	zone := time.UTC
	if name := s.body.Get("time_zone").String(); name != "" {
		if offset, err := time.Parse("-07:00", name); err == nil {
			zone = offset.Location()
		} else if named, err := time.LoadLocation(name); err == nil {
			zone = named
		} else {
			return 0, false
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02", "2006-01", "2006"} {
		if t, err := time.ParseInLocation(layout, text.Str, zone); err == nil {
			return t.UnixMilli(), true
		}
	}
	return 0, false
}

// merge makes the answer of c from that of its branches; it is not ok if more
// values have to be asked for.
func (c *composite) merge(result gjson.Result, values int) (raw string, ok bool) {
	page := compositePage{composite: c, values: values}
	for shared := c.branchCount() - 1; shared >= 0 && len(page.buckets) < c.size; shared-- {
		if !page.add(byName(byName(result, branchName(shared)), "by"), 0, shared, nil) && len(page.buckets) < c.size {
			return "", false
		}
	}
	var o object
	if c.meta.Exists() {
		o.set("meta", c.meta.Raw)
	}
	if n := len(page.buckets); n > 0 {
		o.set("after_key", page.last)
	}
	o.set("buckets", "["+strings.Join(page.buckets, ",")+"]")
	return o.String(), true
}

// byName is a member of an aggregation's result, whose name may have its type in
// front.
func byName(result gjson.Result, name string) (found gjson.Result) {
	result.ForEach(func(key, v gjson.Result) bool {
		if k := key.String(); k == name || strings.HasSuffix(k, "#"+name) {
			found = v
			return false
		}
		return true
	})
	return found
}

// A compositePage collects buckets until it is full.
type compositePage struct {
	*composite
	values  int
	buckets []string
	last    string // the key of the last one
}

// add adds the buckets of a level that share a number of leading values with the
// after key and then stand behind it. It is false as soon as there may be others
// that were not asked for.
func (p *compositePage) add(level gjson.Result, i, shared int, key []string) bool {
	s := &p.sources[i]
	buckets := level.Get("buckets").Array()
	for _, b := range buckets {
		if len(p.buckets) == p.size {
			return true
		}
		v := s.value(b)
		if p.after {
			c := s.compare(b)
			if i < shared && c != 0 || i == shared && c <= 0 {
				continue
			}
		}
		k := append(slices.Clone(key), translate.Quote(s.name)+":"+v.Raw)
		if i < len(p.sources)-1 {
			if !p.add(byName(b, "by"), i+1, shared, k) {
				return false
			}
			continue
		}
		p.last = "{" + strings.Join(k, ",") + "}"
		var o object
		o.set("key", p.last)
		b.ForEach(func(key, v gjson.Result) bool {
			if name := key.String(); name != "key" && name != "key_as_string" {
				o.set(name, v.Raw)
			}
			return true
		})
		p.buckets = append(p.buckets, o.String())
	}
	return s.kind != "terms" || len(buckets) < p.valuesOf(i, p.values)
}

// typesOf are the types of the fields of the indices that are searched.
func typesOf(x *Exchange) (map[string]string, error) {
	types := map[string]string{}
	if x.Facts == nil {
		return types, nil
	}
	names, err := x.Facts.Expand(x.Context(), x.Searched())
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		f, _, err := x.Facts.Index(x.Context(), name)
		if err != nil {
			return nil, fmt.Errorf("the fields of %s: %w", name, err)
		}
		for path, field := range f.Fields {
			types[path] = field.Type
		}
	}
	return types, nil
}
