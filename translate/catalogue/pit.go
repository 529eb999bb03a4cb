package catalogue

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Points in time on clusters that have none. Nothing is opened with them: the
// first search that sorts opens a scroll, and each page that is asked for behind
// the last hit of the page before is the scroll's next. A hit's last sort value,
// which breaks ties (_shard_doc), is its number; that of a page's last hit is a
// text that says how to go on, as applications may keep to the id that they got
// first.

const pitLoses = "searches that do not page forward from hit to hit see the index as it is now; the last sort value of a page's last hit is a text; " +
	"no page can be asked for again behind the first 10,000 hits; slices need the same cluster; refused with collapse, in msearch and with index_filter"

func init() {
	translate.Register(
		&Change{
			ID: "PIT-01", Name: "PointsInTimeAppeared", Since: V(7, 10),
			Doc:       "A search can run on a point in time, an index as it was at a moment; pages of it follow each other by search_after.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: pitLoses,
				Request:  []Rule{at(translate.RequestHead, emulatePIT)},
				Response: []Rule{at(translate.SearchAnswer, showPIT)}},
		},
		&Change{
			// There is no distribution without x-pack from 7.11 on.
			ID: "PIT-01", Name: "PointsInTimeCameToAllDistributions", Since: V(7, 11),
			Doc:       "7.10 has points in time in the distribution with x-pack only.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "on 7.10 without x-pack: " + pitLoses,
				Request:  []Rule{at(translate.RequestHead, only710(emulatePIT))},
				Response: []Rule{at(translate.SearchAnswer, only710(showPIT))}},
		},
	)
}

// only710 makes a rule that has something to do on clusters of 7.10.
func only710(do func(*Exchange, *Node) error) func(*Exchange, *Node) error {
	return func(x *Exchange, n *Node) error {
		if x.Cluster.Before(V(7, 10)) {
			return nil
		}
		return do(x, n)
	}
}

// A pointInTime is what the id of an emulated one says.
type pointInTime struct {
	Index     string `json:"i"`
	Params    string `json:"p,omitempty"` // of the URL: how the indices are found
	KeepAlive string `json:"k"`
	Shards    int64  `json:"n"`
	Scroll    string `json:"s,omitempty"` // the one that was opened last
}

// A pitPage is what the last hit of a page says.
type pitPage struct {
	Scroll string `json:"s,omitempty"` // "" if this was the last page
	Search string `json:"q"`           // a digest
	Size   int64  `json:"z"`
	Next   int64  `json:"n"` // number of the next page's first hit
}

const (
	pitMark     = "esperantopit-"
	pitPageMark = "esperantopage-"
	pitNote     = "the point in time of the answer"
	maxPage     = 128 << 20 // of an emulated point in time, in bytes
	maxWindow   = 10_000    // how far a search without a scroll reaches by default
)

func pitText(mark string, v any) string {
	data, _ := json.Marshal(v) // of texts and numbers
	return mark + base64.RawURLEncoding.EncodeToString(data)
}

func readPITText(mark, text string, v any) bool {
	encoded, ok := strings.CutPrefix(text, mark)
	if !ok {
		return false
	}
	data, err := base64.RawURLEncoding.DecodeString(encoded)
	return err == nil && json.Unmarshal(data, v) == nil
}

var (
	pitParams   = []string{"ignore_unavailable", "allow_no_indices", "expand_wildcards", "ignore_throttled", "routing", "preference"}
	pitDuration = regexp.MustCompile(`^(\d+(nanos|micros|ms|s|m|h|d)|-1|0)$`)
)

// emulatePIT opens, searches and closes points in time.
func emulatePIT(x *Exchange, _ *Node) error {
	switch x.Asked.API {
	case "open_point_in_time":
		return openPIT(x)
	case "close_point_in_time":
		return closePIT(x)
	case "search":
		if bytes.Contains(x.RequestBody, []byte(`"pit"`)) {
			return searchPIT(x)
		}
	}
	return nil
}

// openPIT sees that the indices are there. A cluster that may have points in
// time is asked for one first: without them its answer is that a document of the
// type _pit has no body.
func openPIT(x *Exchange) error {
	keep := x.Params.Get("keep_alive")
	switch {
	case keep == "":
		return esapi.ValidationFailed("[keep_alive] is not specified")
	case !pitDuration.MatchString(keep):
		return esapi.IllegalArgument("failed to parse setting [keep_alive] with value [" + keep + "] as a time value: unit is missing or unrecognized")
	case gjson.GetBytes(x.RequestBody, "index_filter").Exists():
		return x.Refuse("index_filter of a point in time")
	}
	var kept esapi.Params
	for _, name := range pitParams {
		if x.Params.Has(name) {
			kept.Set(name, x.Params.Get(name))
		}
	}
	opened := pointInTime{Index: x.Endpoint.Index, Params: kept.Encode(), KeepAlive: keep}
	native := x.Cluster.AtLeast(V(7, 10))
	if !native {
		x.Endpoint.API, x.Endpoint.Method = "search", "POST"
		x.Params.Drop("keep_alive")
		x.RequestBody = []byte(`{"size":0}`)
		x.Header.Set("Content-Type", "application/json")
		x.Edited()
	}
	x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		if native {
			if a, err := next.Send(ctx, r); err != nil || a.Status != http.StatusBadRequest {
				return a, err
			} else if err := a.Body.Close(); err != nil {
				return nil, err
			}
			path, _ := esapi.Endpoint{API: "search", Method: "POST", Index: opened.Index}.PathFor(x.Cluster)
			r = esapi.NewRequest("POST", path+"?"+opened.Params, []byte(`{"size":0}`))
		}
		a, body, err := sendWhole(ctx, r, next)
		if err != nil || a.Status >= 300 {
			return a, err
		}
		opened.Shards = gjson.GetBytes(body, "_shards.total").Int()
		return esapi.NewResponse(http.StatusOK, []byte(`{"id":`+translate.Quote(pitText(pitMark, opened))+`}`)), nil
	})
	return nil
}

func closePIT(x *Exchange) error {
	p, ours, err := readPIT(x, gjson.GetBytes(x.RequestBody, "id").String())
	if err != nil || !ours {
		return err
	}
	x.RequestBody = nil
	x.Header.Del("Content-Type")
	x.Endpoint.API = "clear_scroll"
	x.Edited()
	x.Via(func(ctx context.Context, _ *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		if p.Scroll != "" {
			clearScroll(ctx, p.Scroll, next)
		}
		return esapi.NewResponse(http.StatusOK, fmt.Appendf(nil, `{"succeeded":true,"num_freed":%d}`, p.Shards)), nil
	})
	return nil
}

// clearScroll ends a scroll. If that fails the scroll ends by its time.
func clearScroll(ctx context.Context, id string, next esapi.Sender) {
	pitPositions.forget(id)
	if a, err := next.Send(ctx, esapi.NewRequest("DELETE", "/_search/scroll", []byte(`{"scroll_id":[`+translate.Quote(id)+`]}`))); err == nil {
		_ = a.Body.Close()
	}
}

// readPIT reads an id. One that is not of the gateway belongs to a cluster that
// has points in time.
func readPIT(x *Exchange, id string) (p pointInTime, ours bool, err error) {
	switch {
	case readPITText(pitMark, id, &p):
		return p, true, nil
	case x.Cluster.AtLeast(V(7, 10)):
		return p, false, nil
	case id == "":
		return p, false, esapi.IllegalArgument("point in time id is not provided")
	}
	return p, false, &esapi.Error{Status: http.StatusNotFound, Type: "search_context_missing_exception",
		Reason: "No search context found for this point in time: it was not opened on this cluster"}
}

// A pitSearch is a search on an emulated point in time.
type pitSearch struct {
	x        *Exchange
	pit      pointInTime
	digest   string
	size     int64
	sorts    int  // that the application gave, without _shard_doc
	ties     bool // hits have a value that breaks ties
	counted  bool // track_total_hits is not false
	first    int64
	overPage bool // the scroll has one page only: it is there for its slice
}

// searchPIT makes a search on a point in time one on the indices, by a scroll if
// it pages.
func searchPIT(x *Exchange) error {
	body := translate.NewNode(string(x.RequestBody))
	given := body.Get("pit")
	if !given.IsObject() {
		return nil
	}
	pit, ours, err := readPIT(x, given.Get("id").String())
	if err != nil || !ours {
		return err
	}
	if err := checkPIT(x); err != nil {
		return err
	}
	if keep := given.Get("keep_alive").String(); keep != "" {
		pit.KeepAlive = keep
	}
	s := &pitSearch{x: x, pit: pit, size: 10, counted: body.Get("track_total_hits").Raw != "false" && x.Params.Get("track_total_hits") != "false"}
	body.Drop("pit")
	if v := orElse(body.Get("size").String(), x.Params.Get("size")); v != "" {
		if s.size, err = strconv.ParseInt(v, 10, 64); err != nil {
			return esapi.IllegalArgument("Failed to parse int parameter [size] with value [" + v + "]")
		}
	}
	s.digest = searchDigest(body)
	if err := s.readSort(body); err != nil {
		return err
	}
	if err := s.choose(body); err != nil {
		return err
	}
	x.RequestBody = []byte(body.Raw())
	x.Endpoint.Index = pit.Index
	kept := esapi.ParseParams(pit.Params)
	for _, name := range pitParams {
		if kept.Has(name) {
			x.Params.Set(name, kept.Get(name))
		}
	}
	x.Note(pitNote, pitText(pitMark, s.pit))
	x.Edited()
	return nil
}

// checkPIT answers as 7.10 does to what does not go together with a point in
// time.
func checkPIT(x *Exchange) error {
	var problems []string
	if x.Params.Has("scroll") {
		problems = append(problems, "using [point in time] is not allowed in a scroll context")
	}
	if x.Asked.Index != "" {
		problems = append(problems, "[indices] cannot be used with point in time. Do not specify any index with point in time.")
	}
	if slices.ContainsFunc(pitParams[:4], x.Params.Has) {
		problems = append(problems, "[indicesOptions] cannot be used with point in time")
	}
	for _, name := range pitParams[4:] {
		if x.Params.Has(name) {
			problems = append(problems, "["+name+"] cannot be used with point in time")
		}
	}
	if problems != nil {
		return esapi.ValidationFailed(problems...)
	}
	return nil
}

// searchDigest tells searches apart that are not pages of the same.
func searchDigest(body *Node) string {
	keys := body.Keys()
	slices.Sort(keys)
	h := fnv.New64a()
	for _, k := range keys {
		if !slices.Contains([]string{"search_after", "size", "from", "track_total_hits", "aggs", "aggregations"}, k) {
			fmt.Fprintf(h, "%q:%s,", k, body.Get(k).Raw)
		}
	}
	return strconv.FormatUint(h.Sum64(), 36)
}

// readSort counts the sorts and takes out _shard_doc, which breaks ties in the
// order of the index.
func (s *pitSearch) readSort(body *Node) error {
	var kept []string
	shardDoc := false
	sorts := body.Get("sort")
	list := []gjson.Result{sorts}
	if sorts.IsArray() {
		list = sorts.Array()
	}
	for _, one := range list {
		name, order := one.String(), ""
		switch {
		case !one.Exists():
			continue
		case shardDoc:
			return s.x.Refuse("a sort behind _shard_doc")
		case one.IsObject():
			for key, spec := range one.Map() {
				name, order = key, orElse(spec.Get("order").String(), spec.String())
				s.sorts++
			}
		default:
			s.sorts++
		}
		if name == "_shard_doc" {
			shardDoc = true
			if s.sorts--; s.sorts == 0 && order == "desc" {
				return s.x.Refuse("the sort _shard_doc in descending order")
			}
			continue
		}
		kept = append(kept, one.Raw)
	}
	if shardDoc {
		if len(kept) == 0 {
			kept = []string{`"_doc"`}
		}
		body.Set("sort", "["+strings.Join(kept, ",")+"]")
	}
	if inURL := s.x.Params.Get("sort"); inURL != "" && s.sorts == 0 && !shardDoc {
		s.sorts = strings.Count(inURL, ",") + 1
	}
	s.ties = shardDoc || s.sorts > 0
	return nil
}

// choose decides how the hits are found.
func (s *pitSearch) choose(body *Node) error {
	from := orElse(body.Get("from").String(), orElse(s.x.Params.Get("from"), "0"))
	after := body.Get("search_after")
	sliced := body.Has("slice")
	switch values := after.Array(); {
	case s.size == 0, !s.ties && !sliced:
	case !after.Exists() && from == "0" && !body.Has("collapse"):
		s.overPage = !s.ties
		s.scrollVia(s.open)
	case body.Has("collapse"):
		return s.x.Refuse("collapse with a sort on a point in time")
	case !after.Exists():
		if sliced {
			return s.x.Refuse("from with a slice of a point in time")
		}
		s.first, _ = strconv.ParseInt(from, 10, 64)
		s.scrollVia(send)
	case len(values) == s.sorts+1:
		return s.goOn(body, values)
	case sliced:
		return s.x.Refuse("search_after without the last sort value, with a slice of a point in time")
	}
	return nil
}

// goOn asks for what follows a hit.
func (s *pitSearch) goOn(body *Node, after []gjson.Result) error {
	last := after[s.sorts]
	var page pitPage
	isPage := readPITText(pitPageMark, last.String(), &page)
	sameSearch := isPage && page.Search == s.digest
	switch {
	case sameSearch && page.Scroll == "":
		body.Drop("search_after")
		body.Drop("slice")
		body.Set("size", "0")
		return nil
	case sameSearch && page.Size == s.size && pitPositions.claim(page.Scroll, page.Next):
		s.pit.Scroll, s.first = page.Scroll, page.Next
		s.scrollVia(s.next)
		return nil
	case body.Has("slice"):
		return s.x.Refuse("a page of a slice of a point in time once more, or in another size")
	case isPage && !sameSearch:
		// The same place in another search is known by the application's own
		// sort values only.
		if s.sorts == 0 {
			return s.x.Refuse("search_after with the hit of another search and no sort but _shard_doc")
		}
		var values []string
		for _, v := range after[:s.sorts] {
			values = append(values, v.Raw)
		}
		body.Set("search_after", "["+strings.Join(values, ",")+"]")
		return nil
	}
	if s.first = page.Next; !isPage {
		s.first = last.Int() + 1
	}
	if s.first+s.size > maxWindow {
		return s.x.Refuse("a page of a point in time behind the first %d hits that is not the next one", maxWindow)
	}
	body.Drop("search_after")
	body.Set("from", strconv.FormatInt(s.first, 10))
	s.scrollVia(send)
	return nil
}

// scrollVia adds the step that sends the search and numbers its hits.
func (s *pitSearch) scrollVia(fetch translate.Step) {
	s.x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		a, err := fetch(ctx, r, next)
		if err != nil || a.Status >= 300 {
			return a, err
		}
		page, err := readPage(a)
		if err != nil {
			return nil, err
		}
		return withBody(a, []byte(s.numbered(ctx, page, next))), nil
	})
}

func send(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	return next.Send(ctx, r)
}

// open opens the scroll.
func (s *pitSearch) open(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	body := translate.NewNode(string(r.Body))
	body.Drop("track_total_hits") // scrolls always count
	body.Drop("from")
	sent := *r
	sent.Body = []byte(body.Raw())
	sent.Params = r.Params.Clone()
	for _, name := range []string{"request_cache", "track_total_hits", "from"} {
		sent.Params.Drop(name)
	}
	sent.Params.Set("scroll", s.pit.KeepAlive)
	return next.Send(ctx, &sent)
}

// next asks for the scroll's next page. Its aggregations, which a scroll shows
// once, are asked for beside it.
func (s *pitSearch) next(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	page := esapi.NewRequest("POST", "/_search/scroll",
		[]byte(`{"scroll":`+translate.Quote(s.pit.KeepAlive)+`,"scroll_id":`+translate.Quote(s.pit.Scroll)+`}`))
	if total := r.Params.Get("rest_total_hits_as_int"); total != "" {
		page.Params.Set("rest_total_hits_as_int", total)
	}
	a, err := next.Send(ctx, page)
	search := translate.NewNode(string(r.Body))
	if err != nil || a.Status >= 300 || !search.Has("aggs") && !search.Has("aggregations") {
		return a, err
	}
	for _, key := range []string{"search_after", "sort", "slice"} {
		search.Drop(key)
	}
	search.Set("size", "0")
	beside := *r
	beside.Body = []byte(search.Raw())
	b, found, err := sendWhole(ctx, &beside, next)
	if err != nil || b.Status >= 300 {
		_ = a.Body.Close()
		return b, err
	}
	answer, err := readPage(a)
	if err != nil {
		return nil, err
	}
	answer.Set("aggregations", gjson.GetBytes(found, "aggregations").Raw)
	return withBody(a, []byte(answer.Raw())), nil
}

// readPage reads a page of hits.
func readPage(a *esapi.Response) (*Node, error) {
	defer a.Body.Close()
	body, err := io.ReadAll(io.LimitReader(a.Body, maxPage+1))
	if err == nil && len(body) > maxPage {
		err = &esapi.Error{Status: http.StatusRequestEntityTooLarge, Type: "content_too_long_exception",
			Reason: fmt.Sprintf("a page of a point in time is larger than %d bytes; ask for fewer hits", maxPage)}
	}
	if err != nil {
		return nil, err
	}
	return translate.NewNode(string(body)), nil
}

// numbered gives the hits of a page the values that break ties, and ends a
// scroll that has no more.
func (s *pitSearch) numbered(ctx context.Context, answer *Node, next esapi.Sender) string {
	scroll := answer.Get("_scroll_id").String()
	answer.Drop("_scroll_id")
	hits := answer.Get("hits").Get("hits").Array()
	following := s.first + int64(len(hits))
	if scroll != "" {
		if int64(len(hits)) < s.size || s.overPage {
			clearScroll(ctx, scroll, next)
			scroll = ""
		} else {
			pitPositions.reach(scroll, following)
		}
		s.pit.Scroll = scroll
		s.x.Note(pitNote, pitText(pitMark, s.pit))
	}
	var list strings.Builder
	for i, hit := range hits {
		tie := strconv.FormatInt(s.first+int64(i), 10)
		if i == len(hits)-1 && (scroll != "" || int64(len(hits)) < s.size) {
			tie = translate.Quote(pitText(pitPageMark, pitPage{scroll, s.digest, s.size, following}))
		}
		if i > 0 {
			list.WriteByte(',')
		}
		list.WriteString(s.withTie(hit, tie))
	}
	edit(answer, "hits", func(all *Node) {
		all.Set("hits", "["+list.String()+"]")
		if s.ties {
			all.Set("max_score", "null")
		}
		switch {
		case s.counted:
		case s.x.Cluster.AtLeast(V(7, 0)):
			all.Drop("total")
		default:
			all.Set("total", "-1")
		}
	})
	return answer.Raw()
}

// withTie is a hit with the value that breaks ties.
func (s *pitSearch) withTie(hit gjson.Result, tie string) string {
	if !s.ties {
		return hit.Raw
	}
	var values []string
	for i, v := range hit.Get("sort").Array() {
		if i < s.sorts {
			values = append(values, v.Raw)
		}
	}
	if len(values) == 0 && s.sorts == 1 { // by score alone, which the older cluster does not show as a sort value
		values = []string{hit.Get("_score").Raw}
	}
	n := translate.NewNode(hit.Raw)
	n.Set("sort", "["+strings.Join(append(values, tie), ",")+"]")
	return n.Raw()
}

// showPIT shows the id of the point in time in the answer.
func showPIT(x *Exchange, n *Node) error {
	if id, ok := x.Noted(pitNote).(string); ok && n.Name() == "" && n.Part() == translate.Whole && !n.Has("error") {
		n.InsertAfter("", "pit_id", translate.Quote(id))
	}
	return nil
}

// positions remembers how far scrolls have come, so that a page that is asked
// for again, as clients do whose answer was lost, is not the next one.
type positions struct {
	mu sync.Mutex
	at map[string]int64
}

const maxPositions = 10_000

var pitPositions = positions{at: map[string]int64{}}

// claim reports whether a scroll's next page begins at a position, as far as is
// known; nobody else may ask for it then. Behind what is known is what another
// gateway has given.
func (p *positions) claim(scroll string, at int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if reached, known := p.at[scroll]; known && (reached < 0 || reached > at) {
		return false
	}
	p.set(scroll, -1)
	return true
}

func (p *positions) reach(scroll string, at int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(scroll, at)
}

func (p *positions) set(scroll string, at int64) {
	if len(p.at) >= maxPositions {
		clear(p.at)
	}
	p.at[scroll] = at
}

func (p *positions) forget(scroll string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.at, scroll)
}
