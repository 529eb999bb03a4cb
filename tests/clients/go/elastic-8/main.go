// Command elastic-8 is an application written with the typed API of
// go-elasticsearch 8.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/elastic/go-elasticsearch/v8/esutil"
	"github.com/elastic/go-elasticsearch/v8/typedapi/core/search"
	"github.com/elastic/go-elasticsearch/v8/typedapi/types"
	"github.com/elastic/go-elasticsearch/v8/typedapi/types/enums/calendarinterval"
	"github.com/elastic/go-elasticsearch/v8/typedapi/types/enums/refresh"
	"github.com/elastic/go-elasticsearch/v8/typedapi/types/enums/sortorder"
	"github.com/elastic/go-elasticsearch/v8/typedapi/types/enums/versiontype"

	"github.com/esperanto-es/esperanto/tests/clients/go/library"
	"github.com/esperanto-es/esperanto/tests/clients/go/transcript"
)

var ctx = context.Background()

// An application and the names it uses.
type application struct {
	*transcript.Program
	es          *elasticsearch.TypedClient
	books, many string
}

func main() {
	p := transcript.New(explain)
	es, err := elasticsearch.NewTypedClient(elasticsearch.Config{Addresses: []string{p.URL}})
	p.Must(err)
	a := &application{p, es, p.Name("books"), p.Name("many")}
	a.meet()
	a.createIndices()
	a.write()
	a.bulk()
	a.indexer()
	a.pages()
	a.search()
	a.aggregate()
	a.administer()
	a.templates()
	a.leave()
}

// explain tells what the library made of an error.
func explain(err error) any {
	var e *types.ElasticsearchError
	if !errors.As(err, &e) {
		return fmt.Sprintf("%T %v", err, err)
	}
	told := map[string]any{"status": e.Status, "error": e.ErrorCause}
	for name, value := range e.ErrorCause.Metadata { // it does not print them itself
		told["metadata "+name] = value
	}
	delete(told, "metadata shard")
	delete(told, "metadata index_uuid")
	delete(told, "metadata failed_shards")
	return told
}

func (a *application) meet() {
	info, err := a.es.Info().Do(ctx)
	a.Step("info", info, err)
	there, err := a.es.Ping().IsSuccess(ctx)
	a.Step("ping", there, err)
	a.Step("discover the nodes", true, a.es.DiscoverNodes())
	counted, err := a.es.Cat.Count().Index(a.Name("*")).H("count").Do(ctx)
	a.Step("a request to what was discovered", counted, err)
}

func (a *application) createIndices() {
	create := func(name string) (any, error) {
		return a.es.Indices.Create(name).Raw(strings.NewReader(library.Index(""))).Do(ctx)
	}
	made, err := create(a.books)
	a.Step("create an index", made, err)
	made, err = create(a.books)
	a.Fails("create it again", made, err)
	shards := "1"
	typed, err := a.es.Indices.Create(a.many).
		Settings(&types.IndexSettings{NumberOfShards: &shards}).
		Mappings(&types.TypeMapping{Properties: map[string]types.Property{
			"title":     types.TextProperty{Type: "text", Fields: map[string]types.Property{"raw": types.NewKeywordProperty()}},
			"author":    types.NewKeywordProperty(),
			"year":      types.NewIntegerNumberProperty(),
			"price":     types.NewDoubleNumberProperty(),
			"published": types.NewDateProperty(),
			"reviews": types.NestedProperty{Type: "nested", Properties: map[string]types.Property{
				"by": types.NewKeywordProperty(), "stars": types.NewByteNumberProperty()}},
		}}).
		Aliases(map[string]types.Alias{a.Name("shop"): {}}).Do(ctx)
	a.Step("create an index of types", typed, err)
	there, err := a.es.Indices.Exists(a.books).Do(ctx)
	a.Step("it exists", there, err)
	there, err = a.es.Indices.Exists(a.Name("nothing")).Do(ctx)
	a.Step("another does not", there, err)
	got, err := a.es.Indices.Get(a.many).Do(ctx)
	a.Step("its whole", got, err)
	put, err := a.es.Indices.PutMapping(a.books).Properties(map[string]types.Property{"pages": types.NewIntegerNumberProperty()}).Do(ctx)
	a.Step("add a field", put, err)
	put, err = a.es.Indices.PutMapping(a.books).Properties(map[string]types.Property{"author": types.NewTextProperty()}).Do(ctx)
	a.Fails("change a field", put, err)
	mapping, err := a.es.Indices.GetMapping().Index(a.books).Do(ctx)
	a.Step("its mapping", mapping, err)
	changed, err := a.es.Indices.PutSettings().Indices(a.books).Raw(strings.NewReader(`{"index":{"refresh_interval":"200ms"}}`)).Do(ctx)
	a.Step("change a setting", changed, err)
	settings, err := a.es.Indices.GetSettings().Index(a.books).Do(ctx)
	a.Step("its settings", settings, err)
	tokens, err := a.es.Indices.Analyze().Index(a.books).Analyzer("titles").Text("The Story of the Stone").Do(ctx)
	a.Step("analyze", tokens, err)
}

func (a *application) write() {
	put, err := a.es.Index(a.books).Id("1").Document(library.Number(1)).Do(ctx)
	a.Step("index a document", put, err)
	put, err = a.es.Index(a.books).Document(library.Number(2)).Refresh(refresh.True).Do(ctx)
	a.Step("index without an id", put, err)
	deleted, err := a.es.Delete(a.books, put.Id_).Do(ctx)
	a.Step("delete it", deleted, err)
	made, err := a.es.Create(a.books, "2").Document(library.Number(2)).Do(ctx)
	a.Step("create a document", made, err)
	made, err = a.es.Create(a.books, "2").Document(library.Number(2)).Do(ctx)
	a.Fails("create it twice", made, err)
	got, err := a.es.Get(a.books, "1").Do(ctx)
	a.Step("get a document", got, err)
	got, err = a.es.Get(a.books, "1").SourceIncludes_("title", "ye*").Do(ctx)
	a.Step("get some fields", got, err)
	got, err = a.es.Get(a.books, "none").Do(ctx)
	a.Step("get a missing document", got, err)
	got, err = a.es.Get(a.Name("nothing"), "1").Do(ctx)
	a.Step("get from a missing index", got, err)
	there, err := a.es.Exists(a.books, "1").Do(ctx)
	a.Step("a document exists", there, err)
	there, err = a.es.Exists(a.books, "none").Do(ctx)
	a.Step("a document does not exist", there, err)
	deleted, err = a.es.Delete(a.books, "none").Do(ctx)
	a.Step("delete a missing document", deleted, err)
	updated, err := a.es.Update(a.books, "1").Doc(map[string]any{"price": 12.5}).Do(ctx)
	a.Step("update a document", updated, err)
	updated, err = a.es.Update(a.books, "3").Doc(map[string]any{"year": 1999}).Upsert(library.Number(3)).Do(ctx)
	a.Step("upsert", updated, err)
	updated, err = a.es.Update(a.books, "4").Doc(library.Number(4)).DocAsUpsert(true).Source_(true).Do(ctx)
	a.Step("doc as upsert with its source", updated, err)
	updated, err = a.es.Update(a.books, "none").Doc(map[string]any{"year": 1}).Do(ctx)
	a.Fails("update a missing document", updated, err)
	put, err = a.es.Index(a.books).Id("r").Routing("Lem").Refresh(refresh.Waitfor).Document(library.Number(5)).Do(ctx)
	a.Step("index with routing", put, err)
	got, err = a.es.Get(a.books, "r").Routing("Lem").Do(ctx)
	a.Step("get with routing", got, err)
	put, err = a.es.Index(a.books).Id("v").Version("7").VersionType(versiontype.External).Document(library.Number(7)).Do(ctx)
	a.Step("external version", put, err)
	put, err = a.es.Index(a.books).Id("v").Version("6").VersionType(versiontype.External).Document(library.Number(7)).Do(ctx)
	a.Fails("an older external version", put, err)
	put, err = a.es.Index(a.books).Id("w").Document(map[string]any{"year": "not a year"}).Do(ctx)
	a.Fails("a wrong value", put, err)
	seen, err := a.es.Get(a.books, "2").Do(ctx)
	a.Must(err)
	no, term := strconv.FormatInt(*seen.SeqNo_, 10), strconv.FormatInt(*seen.PrimaryTerm_, 10)
	put, err = a.es.Index(a.books).Id("2").IfSeqNo(no).IfPrimaryTerm(term).Document(library.Number(2)).Do(ctx)
	a.Step("index what was seen", put, err)
	put, err = a.es.Index(a.books).Id("2").IfSeqNo(no).IfPrimaryTerm(term).Document(library.Number(2)).Do(ctx)
	a.Fails("index what was changed", put, err)
	nothing := a.Name("nothing")
	several, err := a.es.Mget().Index(a.books).Docs(types.MgetOperation{Id_: "1"}, types.MgetOperation{Id_: "none"},
		types.MgetOperation{Id_: "1", Index_: &nothing}).Do(ctx)
	a.Step("mget", several, err)
}

func (a *application) bulk() {
	b := a.es.Bulk().Index(a.books).Refresh(refresh.True)
	id := func(s string) *string { return &s }
	a.Must(b.IndexOp(types.IndexOperation{Id_: id("10")}, library.Number(10)))
	a.Must(b.CreateOp(types.CreateOperation{Id_: id("1")}, library.Number(1)))
	a.Must(b.UpdateOp(types.UpdateOperation{Id_: id("10")}, map[string]any{"year": 1910}, nil))
	a.Must(b.UpdateOp(types.UpdateOperation{Id_: id("none")}, map[string]any{"year": 1910}, nil))
	a.Must(b.DeleteOp(types.DeleteOperation{Id_: id("none")}))
	a.Must(b.IndexOp(types.IndexOperation{Id_: id("11")}, map[string]any{"year": "wrong"}))
	done, err := b.Do(ctx)
	a.Step("bulk", done, err)
}

// indexer writes many documents with the library's own bulk indexer.
func (a *application) indexer() {
	client, err := elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{a.URL}, EnableMetrics: true})
	a.Must(err)
	var mu sync.Mutex
	var told []string
	tell := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, text)
	}
	indexer, err := esutil.NewBulkIndexer(esutil.BulkIndexerConfig{Client: client, Index: a.many, NumWorkers: 2, FlushBytes: 50_000,
		OnError: func(_ context.Context, err error) { tell(err.Error()) }})
	a.Must(err)
	add := func(action, id, doc string) {
		item := esutil.BulkIndexerItem{Action: action, DocumentID: id,
			OnFailure: func(_ context.Context, i esutil.BulkIndexerItem, r esutil.BulkIndexerResponseItem, err error) {
				tell(fmt.Sprint(i.Action, " ", i.DocumentID, " ", r.Status, " ", r.Error.Type, " ", r.Error.Cause.Type, " ", err))
			}}
		if doc != "" {
			item.Body = strings.NewReader(doc)
		}
		a.Must(indexer.Add(ctx, item))
	}
	for i := range 1200 {
		text, err := json.Marshal(library.Number(i))
		a.Must(err)
		add("index", fmt.Sprintf("m%d", i), string(text))
	}
	add("index", "wrong", `{"year":"wrong"}`)
	add("delete", "none", "")
	err = indexer.Close(ctx)
	sort.Strings(told)
	s := indexer.Stats()
	a.Step("bulk indexer", map[string]any{"added": s.NumAdded, "flushed": s.NumFlushed, "failed": s.NumFailed, "indexed": s.NumIndexed, "told": told}, err)
	refreshed, err := a.es.Indices.Refresh().Index(a.many).Do(ctx)
	a.Step("refresh", refreshed, err)
	n, err := a.es.Count().Index(a.many).Query(term("author", "Lem")).Do(ctx)
	a.Step("count", n, err)
}

func term(field, value string) *types.Query {
	return &types.Query{Term: map[string]types.TermQuery{field: {Value: value}}}
}

func match(field, value string) types.Query {
	return types.Query{Match: map[string]types.MatchQuery{field: {Query: value}}}
}

func by(field string, order sortorder.SortOrder) types.SortCombinations {
	return types.SortOptions{SortOptions: map[string]types.FieldSort{field: {Order: &order}}}
}

func (a *application) pages() {
	page, err := a.es.Search().Index(a.many).Scroll("1m").Size(500).Sort(by("price", sortorder.Asc)).Source_(false).Do(ctx)
	a.Must(err)
	var ids []string
	for _, h := range page.Hits.Hits {
		ids = append(ids, *h.Id_)
	}
	id := *page.ScrollId_
	for {
		next, err := a.es.Scroll().ScrollId(id).Scroll("1m").Do(ctx)
		a.Must(err)
		if len(next.Hits.Hits) == 0 {
			break
		}
		for _, h := range next.Hits.Hits {
			ids = append(ids, *h.Id_)
		}
		id = *next.ScrollId_
	}
	a.Step("scroll", []any{len(ids), ids[:20], ids[len(ids)-20:]}, nil)
	cleared, err := a.es.ClearScroll().ScrollId(id).Do(ctx)
	a.Must(err)
	a.Step("clear the scroll", cleared.Succeeded, err)
	a.pointInTime()
}

// pointInTime reads pages of an index as it was.
func (a *application) pointInTime() {
	opened, err := a.es.OpenPointInTime(a.many).KeepAlive("1m").Do(ctx)
	if err != nil {
		a.Step("pages in a point in time", nil, err)
		return
	}
	id := opened.Id
	var seen []any
	var after []types.FieldValue
	for range 3 {
		page, err := a.es.Search().Pit(&types.PointInTimeReference{Id: id, KeepAlive: "1m"}).Size(5).
			Sort(by("year", sortorder.Asc), by("price", sortorder.Desc)).SearchAfter(after...).Source_(false).Do(ctx)
		if err != nil {
			a.Step("pages in a point in time", nil, err)
			return
		}
		for _, h := range page.Hits.Hits {
			seen = append(seen, []any{*h.Id_, h.Sort[:2]})
			after = h.Sort
		}
		id = *page.PitId
	}
	a.Step("pages in a point in time", seen, nil)
	closed, err := a.es.ClosePointInTime().Id(id).Do(ctx)
	a.Must(err)
	a.Step("close a point in time", closed.Succeeded, nil)
}

func (a *application) searching() *search.Search {
	return a.es.Search().Index(a.many).Size(2).Sort(by("price", sortorder.Asc))
}

func (a *application) search() {
	step := func(name string, s *search.Search) {
		found, err := s.Do(ctx)
		a.Step("search: "+name, found, err)
	}
	gte, lt := types.Float64(1980), types.Float64(1990)
	step("all", a.searching())
	step("bool", a.searching().Query(&types.Query{Bool: &types.BoolQuery{
		Must:    []types.Query{match("title", "story")},
		Filter:  []types.Query{*term("author", "Lem"), {Range: map[string]types.RangeQuery{"year": types.NumberRangeQuery{Gte: &gte, Lt: &lt}}}},
		MustNot: []types.Query{{Terms: &types.TermsQuery{TermsQuery: map[string]types.TermsQueryField{"year": []types.FieldValue{1982, 1983}}}}},
		Should:  []types.Query{match("title", "short")},
	}}).Source_(&types.SourceFilter{Includes: []string{"ti*"}}))
	nested := types.Query{Nested: &types.NestedQuery{Path: "reviews", Query: *term("reviews.by", "reader 1"), InnerHits: &types.InnerHits{}}}
	step("nested", a.searching().Query(&nested))
	step("highlight", a.searching().Query(&types.Query{Match: map[string]types.MatchQuery{"title": {Query: "endless"}}}).
		Highlight(&types.Highlight{Fields: map[string]types.HighlightField{"title": {}}}))
	step("fields", a.searching().Fields(types.FieldAndFormat{Field: "author"}, types.FieldAndFormat{Field: "ye*"}).Source_(false))
	step("collapse", a.searching().Collapse(&types.FieldCollapse{Field: "author"}))
	step("suggest", a.searching().Suggest(&types.Suggester{Suggesters: map[string]types.FieldSuggester{
		"spelling": {Text: pointer("endles"), Term: &types.TermSuggester{Field: "title"}}}}))
	step("exact total", a.searching().TrackTotalHits(true))
	step("no total", a.searching().TrackTotalHits(false))
	found, err := a.searching().Raw(strings.NewReader(`{"query":{"no_such_query":{}}}`)).Do(ctx)
	a.Fails("a query that is none", found, err)
	found, err = a.es.Search().Index(a.Name("nothing")).Do(ctx)
	a.Fails("search a missing index", found, err)
	found, err = a.es.Search().Index(a.Name("nothing")).IgnoreUnavailable(true).AllowNoIndices(true).Do(ctx)
	a.Step("search missing indices leniently", found, err)
	several := a.es.Msearch()
	size := 1
	a.Must(several.AddSearch(types.MultisearchHeader{Index: []string{a.many}}, types.MultisearchBody{Query: term("author", "Lem"), Size: &size, Sort: []types.SortCombinations{by("price", sortorder.Asc)}}))
	a.Must(several.AddSearch(types.MultisearchHeader{Index: []string{a.Name("nothing")}}, types.MultisearchBody{}))
	answers, err := several.Do(ctx)
	a.Step("msearch", answers, err)
	caps, err := a.es.FieldCaps().Index(a.many).Fields("year", "author").Do(ctx)
	a.Step("field caps", caps, err)
}

func pointer[T any](v T) *T { return &v }

func (a *application) aggregate() {
	found, err := a.es.Search().Index(a.many).Size(0).Aggregations(map[string]types.Aggregations{
		"authors": {Terms: &types.TermsAggregation{Field: pointer("author"), Order: map[string]sortorder.SortOrder{"_key": sortorder.Asc}},
			Aggregations: map[string]types.Aggregations{
				"price": {Stats: &types.StatsAggregation{Field: pointer("price")}},
				"dear":  {TopHits: &types.TopHitsAggregation{Size: pointer(1), Sort: []types.SortCombinations{by("price", sortorder.Desc)}}},
			}},
		"years":     {DateHistogram: &types.DateHistogramAggregation{Field: pointer("published"), CalendarInterval: &calendarinterval.Year}},
		"different": {Cardinality: &types.CardinalityAggregation{Field: pointer("year")}},
		"reviews": {Nested: &types.NestedAggregation{Path: pointer("reviews")}, Aggregations: map[string]types.Aggregations{
			"by":    {Terms: &types.TermsAggregation{Field: pointer("reviews.by")}},
			"stars": {Avg: &types.AverageAggregation{Field: pointer("reviews.stars")}},
		}},
		"prices": {Range: &types.RangeAggregation{Field: pointer("price"), Ranges: []types.AggregationRange{{To: pointer(types.Float64(100))}, {From: pointer(types.Float64(100))}}}},
		"lem":    {Filter: term("author", "Lem")},
		"spread": {ExtendedStats: &types.ExtendedStatsAggregation{Field: pointer("price")}},
	}).Do(ctx)
	a.Step("aggregations", found, err)
	if err != nil {
		return
	}
	authors, ok := found.Aggregations["authors"].(*types.StringTermsAggregate)
	if !ok {
		a.Step("buckets of authors", nil, fmt.Errorf("they are %T", found.Aggregations["authors"]))
		return
	}
	var told []any
	for _, b := range authors.Buckets.([]types.StringTermsBucket) {
		stats, _ := b.Aggregations["price"].(*types.StatsAggregate)
		dear, _ := b.Aggregations["dear"].(*types.TopHitsAggregate)
		told = append(told, []any{b.Key, b.DocCount, stats.Sum, *dear.Hits.Hits[0].Id_})
	}
	a.Step("buckets of authors", told, nil)
}

func (a *application) administer() {
	alias := a.Name("alias")
	put, err := a.es.Indices.PutAlias(a.many, alias).Filter(term("author", "Lem")).Do(ctx)
	a.Step("put an alias", put, err)
	n, err := a.es.Count().Index(alias).Do(ctx)
	a.Step("count an alias", n, err)
	moved, err := a.es.Indices.UpdateAliases().Actions(
		types.IndicesAction{Remove: &types.RemoveAction{Index: &a.many, Alias: &alias}},
		types.IndicesAction{Add: &types.AddAction{Index: &a.books, Alias: &alias, IsWriteIndex: nil}}).Do(ctx)
	a.Step("move an alias", moved, err)
	got, err := a.es.Indices.GetAlias().Name(alias).Do(ctx)
	a.Step("get an alias", got, err)
	got, err = a.es.Indices.GetAlias().Name(a.Name("none")).Do(ctx)
	a.Fails("get a missing alias", got, err)
	health, err := a.es.Cluster.Health().Index(a.books).Do(ctx)
	a.Step("health", health, err)
	indices, err := a.es.Cat.Indices().Index(a.books).H("index", "docs.count", "pri", "rep", "status").Do(ctx)
	a.Step("cat indices", indices, err)
	closed, err := a.es.Indices.Close(a.books).Do(ctx)
	a.Must(err)
	a.Step("close an index", closed.Acknowledged, nil)
	found, err := a.es.Search().Index(a.books).Do(ctx)
	a.Fails("search a closed index", found, err)
	opened, err := a.es.Indices.Open(a.books).Do(ctx)
	a.Step("open an index", opened, err)
	pipe, err := a.es.Ingest.PutPipeline(a.Name("pipe")).Raw(strings.NewReader(`{"description":"nothing","processors":[]}`)).Do(ctx)
	a.Step("put a pipeline", pipe, err)
	pipe2, err := a.es.Ingest.DeletePipeline(a.Name("pipe")).Do(ctx)
	a.Step("delete a pipeline", pipe2, err)
}

func (a *application) templates() {
	name := a.Name("template")
	dated := func() *bytes.Reader {
		return bytes.NewReader([]byte(`{"index_patterns":["` + a.Prefix + `log-*"],"mappings":{"properties":{"at":{"type":"date"}}}}`))
	}
	put, err := a.es.Indices.PutTemplate(name).Raw(dated()).Do(ctx)
	a.Step("put a legacy template", put, err)
	there, err := a.es.Indices.ExistsTemplate(name).Do(ctx)
	a.Step("a legacy template exists", there, err)
	got, err := a.es.Indices.GetTemplate().Name(name).Do(ctx)
	a.Step("get a legacy template", got, err)
	gone, err := a.es.Indices.DeleteTemplate(name).Do(ctx)
	a.Step("delete a legacy template", gone, err)
	composed, err := a.es.Indices.PutIndexTemplate(name).IndexPatterns(a.Prefix + "event-*").Priority(7).Template(&types.IndexTemplateMapping{
		Mappings: &types.TypeMapping{Properties: map[string]types.Property{"at": types.NewDateProperty()}},
	}).Do(ctx)
	a.Step("put an index template", composed, err)
	listed, err := a.es.Indices.GetIndexTemplate().Name(name).Do(ctx)
	a.Step("get an index template", listed, err)
	_, err = a.es.Index(a.Name("event-1")).Id("1").Document(map[string]string{"at": "2020-01-01"}).Do(ctx)
	a.Step("index by an index template", true, err)
	mapping, err := a.es.Indices.GetMapping().Index(a.Name("event-1")).Do(ctx)
	a.Step("the mapping by an index template", mapping, err)
	removed, err := a.es.Indices.DeleteIndexTemplate(name).Do(ctx)
	a.Step("delete an index template", removed, err)
	listed, err = a.es.Indices.GetIndexTemplate().Name(name).Do(ctx)
	a.Fails("get a missing index template", listed, err)
}

func (a *application) leave() {
	gone, err := a.es.Indices.Delete(a.books + "," + a.many + "," + a.Name("event-1")).Do(ctx)
	a.Step("delete indices", gone, err)
	gone, err = a.es.Indices.Delete(a.books).Do(ctx)
	a.Fails("delete a missing index", gone, err)
}
