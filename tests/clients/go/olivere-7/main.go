// Command olivere-7 is an application written with olivere/elastic 7.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/olivere/elastic/v7"

	"github.com/esperanto-es/esperanto/tests/clients/go/library"
	"github.com/esperanto-es/esperanto/tests/clients/go/transcript"
)

var ctx = context.Background()

// An application and the names it uses.
type application struct {
	*transcript.Program
	client            *elastic.Client
	books, many, copy string
}

func main() {
	p := transcript.New(explain)
	// Sniffing and health checks are on, as they are by default. The machine may be slow.
	const patience = 30 * time.Second
	client, err := elastic.NewClient(elastic.SetURL(p.URL), elastic.SetHealthcheckTimeoutStartup(patience), elastic.SetHealthcheckTimeout(patience),
		elastic.SetSnifferTimeoutStartup(patience), elastic.SetSnifferTimeout(patience))
	p.Must(err)
	defer client.Stop()
	a := &application{p, client, p.Name("books"), p.Name("many"), p.Name("copy")}
	a.meet()
	a.createIndices()
	a.write()
	a.bulk()
	a.pages()
	a.search()
	a.changeMany()
	a.administer()
	a.leave()
}

// explain tells an error's kind and what the library read in it.
func explain(err error) any {
	var e *elastic.Error
	if errors.As(err, &e) {
		return map[string]any{"status": e.Status, "details": e.Details, "not found": elastic.IsNotFound(err), "conflict": elastic.IsConflict(err)}
	}
	return fmt.Sprintf("%T %v", err, err)
}

func (a *application) meet() {
	info, status, err := a.client.Ping(a.URL).Do(ctx)
	a.Step("ping", []any{info, status}, err)
	version, err := a.client.ElasticsearchVersion(a.URL)
	a.Step("version", version, err)
	nodes, err := a.client.NodesInfo().Metric("http").Do(ctx)
	a.Must(err)
	var addresses []string
	for _, n := range nodes.Nodes {
		addresses = append(addresses, n.HTTP.PublishAddress)
	}
	a.Step("addresses that are sniffed", addresses, nil)
	a.Step("connection after sniffing", strings.Contains(a.client.String(), strings.TrimPrefix(a.URL, "http://")), nil)
}

func (a *application) createIndices() {
	made, err := a.client.CreateIndex(a.books).BodyString(library.Index("")).Do(ctx)
	a.Step("create an index", made, err)
	made, err = a.client.CreateIndex(a.books).BodyString(library.Index("")).Do(ctx)
	a.Fails("create it again", made, err)
	_, err = a.client.CreateIndex(a.many).BodyString(library.Index("")).Do(ctx)
	a.Step("create another", true, err)
	_, err = a.client.CreateIndex(a.copy).BodyString(library.Index("")).Do(ctx)
	a.Step("create a third", true, err)
	there, err := a.client.IndexExists(a.books).Do(ctx)
	a.Step("it exists", there, err)
	there, err = a.client.IndexExists(a.Name("nothing")).Do(ctx)
	a.Step("another does not", there, err)
	mapping, err := a.client.GetMapping().Index(a.books).Do(ctx)
	a.Step("its mapping", mapping, err)
	settings, err := a.client.IndexGetSettings(a.books).Do(ctx)
	a.Step("its settings", settings, err)
	whole, err := a.client.IndexGet(a.books).Do(ctx)
	a.Step("its whole", whole, err)
	put, err := a.client.PutMapping().Index(a.books).BodyString(`{"properties":{"pages":{"type":"integer"}}}`).Do(ctx)
	a.Step("add a field", put, err)
	put, err = a.client.PutMapping().Index(a.books).BodyString(`{"properties":{"author":{"type":"text"}}}`).Do(ctx)
	a.Fails("change a field", put, err)
	field, err := a.client.GetFieldMapping().Index(a.books).Field("title").Do(ctx)
	a.Step("the mapping of a field", field, err)
	changed, err := a.client.IndexPutSettings(a.books).BodyString(`{"index":{"refresh_interval":"200ms"}}`).Do(ctx)
	a.Step("change a setting", changed, err)
	changed, err = a.client.IndexPutSettings(a.books).BodyString(`{"index":{"number_of_shards":5}}`).Do(ctx)
	a.Fails("change a final setting", changed, err)
	tokens, err := a.client.IndexAnalyze().Index(a.books).Analyzer("titles").Text("The Story of the Stone").Do(ctx)
	a.Step("analyze", tokens, err)
}

func (a *application) index() *elastic.IndexService {
	return a.client.Index().Index(a.books)
}

func (a *application) get(id string) *elastic.GetService {
	return a.client.Get().Index(a.books).Id(id)
}

func (a *application) update(id string) *elastic.UpdateService {
	return a.client.Update().Index(a.books).Id(id)
}

func (a *application) delete(id string) *elastic.DeleteService {
	return a.client.Delete().Index(a.books).Id(id)
}

func (a *application) write() {
	put, err := a.index().Id("1").BodyJson(library.Number(1)).Do(ctx)
	a.Step("index a document", put, err)
	put, err = a.index().Id("1").BodyJson(library.Number(1)).Do(ctx)
	a.Step("index it again", put, err)
	put, err = a.index().BodyJson(library.Number(2)).Refresh("true").Do(ctx)
	a.Step("index without an id", put, err)
	deleted, err := a.delete(put.Id).Do(ctx)
	a.Step("delete it", deleted, err)
	put, err = a.index().Id("2").OpType("create").BodyJson(library.Number(2)).Do(ctx)
	a.Step("create a document", put, err)
	put, err = a.index().Id("2").OpType("create").BodyJson(library.Number(2)).Do(ctx)
	a.Fails("create it twice", put, err)
	got, err := a.get("1").Do(ctx)
	a.Step("get a document", got, err)
	got, err = a.get("1").FetchSourceContext(elastic.NewFetchSourceContext(true).Include("title", "ye*")).Do(ctx)
	a.Step("get some fields", got, err)
	got, err = a.get("none").Do(ctx)
	a.Fails("get a missing document", got, err)
	got, err = a.client.Get().Index(a.Name("nothing")).Id("1").Do(ctx)
	a.Fails("get from a missing index", got, err)
	there, err := a.client.Exists().Index(a.books).Id("1").Do(ctx)
	a.Step("a document exists", there, err)
	there, err = a.client.Exists().Index(a.books).Id("none").Do(ctx)
	a.Step("a document does not exist", there, err)
	deleted, err = a.delete("none").Do(ctx)
	a.Fails("delete a missing document", deleted, err)
	updated, err := a.update("1").Doc(map[string]any{"price": 12.5}).Do(ctx)
	a.Step("update a document", updated, err)
	updated, err = a.update("1").Doc(map[string]any{"price": 12.5}).DetectNoop(true).Do(ctx)
	a.Step("update that changes nothing", updated, err)
	updated, err = a.update("3").Doc(map[string]any{"year": 1999}).Upsert(library.Number(3)).Do(ctx)
	a.Step("upsert", updated, err)
	updated, err = a.update("4").Doc(library.Number(4)).DocAsUpsert(true).FetchSource(true).Do(ctx)
	a.Step("doc as upsert with its source", updated, err)
	updated, err = a.update("none").Doc(map[string]any{"year": 1}).Do(ctx)
	a.Fails("update a missing document", updated, err)
	put, err = a.index().Id("r").Routing("Lem").Refresh("wait_for").BodyJson(library.Number(5)).Do(ctx)
	a.Step("index with routing", put, err)
	got, err = a.get("r").Routing("Lem").Do(ctx)
	a.Step("get with routing", got, err)
	deleted, err = a.delete("r").Routing("Lem").Do(ctx)
	a.Step("delete with routing", deleted, err)
	put, err = a.index().Id("v").Version(7).VersionType("external").BodyJson(library.Number(7)).Do(ctx)
	a.Step("external version", put, err)
	put, err = a.index().Id("v").Version(6).VersionType("external").BodyJson(library.Number(7)).Do(ctx)
	a.Fails("an older external version", put, err)
	a.conditions()
	put, err = a.index().Id("w").BodyString(`{"year":"not a year"}`).Do(ctx)
	a.Fails("a wrong value", put, err)
	put, err = a.index().Id("w").BodyString(`{"year":`).Do(ctx)
	a.Fails("a broken document", put, err)
	item := func(id string) *elastic.MultiGetItem {
		return elastic.NewMultiGetItem().Index(a.books).Id(id)
	}
	several, err := a.client.MultiGet().Add(item("1"), item("none"), item("2").FetchSource(elastic.NewFetchSourceContext(false)),
		elastic.NewMultiGetItem().Index(a.Name("nothing")).Id("1")).Do(ctx)
	a.Step("mget", several, err)
}

// conditions are writes that depend on what was read.
func (a *application) conditions() {
	seen, err := a.get("2").Do(ctx)
	a.Must(err)
	put, err := a.index().Id("2").IfSeqNo(*seen.SeqNo).IfPrimaryTerm(*seen.PrimaryTerm).BodyJson(library.Number(2)).Do(ctx)
	a.Step("index what was seen", put, err)
	put, err = a.index().Id("2").IfSeqNo(*seen.SeqNo).IfPrimaryTerm(*seen.PrimaryTerm).BodyJson(library.Number(2)).Do(ctx)
	a.Fails("index what was changed", put, err)
	deleted, err := a.delete("2").IfSeqNo(*seen.SeqNo).IfPrimaryTerm(*seen.PrimaryTerm).Do(ctx)
	a.Fails("delete what was changed", deleted, err)
	updated, err := a.update("2").IfSeqNo(*seen.SeqNo).IfPrimaryTerm(*seen.PrimaryTerm).Doc(map[string]any{"year": 1}).Do(ctx)
	a.Fails("update what was changed", updated, err)
}

func (a *application) bulkIndex(index, id string, doc any) elastic.BulkableRequest {
	return elastic.NewBulkIndexRequest().Index(index).Id(id).Doc(doc)
}

func (a *application) bulkUpdate(id string) elastic.BulkableRequest {
	return elastic.NewBulkUpdateRequest().Index(a.books).Id(id).Doc(map[string]any{"year": 1910})
}

func (a *application) bulk() {
	done, err := a.client.Bulk().Add(
		a.bulkIndex(a.books, "10", library.Number(10)),
		elastic.NewBulkIndexRequest().OpType("create").Index(a.books).Id("1").Doc(library.Number(1)),
		a.bulkUpdate("10"), a.bulkUpdate("none"),
		elastic.NewBulkDeleteRequest().Index(a.books).Id("none"),
		elastic.NewBulkDeleteRequest().Index(a.books).Id("4"),
		a.bulkIndex(a.books, "11", map[string]any{"year": "wrong"}),
		elastic.NewBulkIndexRequest().Index(a.books).Id("12").Routing("x").Doc(library.Number(12)),
	).Refresh("true").Do(ctx)
	a.Step("bulk", done, err)
	if err == nil {
		a.Step("bulk: succeeded and failed", []int{len(done.Succeeded()), len(done.Failed())}, nil)
	}
	done, err = a.client.Bulk().Index(a.books).Add(elastic.NewBulkIndexRequest().Id("13").Doc(library.Number(13))).Do(ctx)
	a.Step("bulk below an index", done, err)
	a.processor()
}

// processor writes many documents with the library's own bulk processor.
func (a *application) processor() {
	var mu sync.Mutex
	var failed []*elastic.BulkResponseItem
	processor, err := a.client.BulkProcessor().Workers(2).BulkActions(400).Stats(true).
		After(func(_ int64, _ []elastic.BulkableRequest, done *elastic.BulkResponse, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				failed = append(failed, done.Failed()...)
			}
		}).Do(ctx)
	a.Must(err)
	for i := range 1200 {
		processor.Add(a.bulkIndex(a.many, fmt.Sprintf("m%d", i), library.Number(i)))
	}
	processor.Add(a.bulkIndex(a.many, "wrong", map[string]any{"year": "wrong"}))
	err = processor.Close()
	s := processor.Stats()
	a.Step("bulk processor", map[string]any{"indexed": s.Indexed, "succeeded": s.Succeeded, "failed": s.Failed, "items": failed}, err)
	refreshed, err := a.client.Refresh(a.many).Do(ctx)
	a.Step("refresh", refreshed, err)
	flushed, err := a.client.Flush(a.many).Do(ctx)
	a.Step("flush", flushed, err)
	n, err := a.client.Count(a.many).Do(ctx)
	a.Step("count", n, err)
	n, err = a.client.Count(a.many).Query(elastic.NewTermQuery("author", "Lem")).Do(ctx)
	a.Step("count of a query", n, err)
}

func (a *application) pages() {
	scroll := a.client.Scroll(a.many).Size(300).Query(elastic.NewRangeQuery("year").Gte(1960)).Sort("price", true)
	var ids []string
	for {
		page, err := scroll.Do(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			a.Step("scroll", nil, err)
			return
		}
		for _, h := range page.Hits.Hits {
			ids = append(ids, h.Id)
		}
	}
	a.Step("scroll", []any{len(ids), ids[:20], ids[len(ids)-20:]}, scroll.Clear(ctx))
	var seen []any
	var last []any
	for range 3 {
		s := a.searching(elastic.NewMatchAllQuery()).Size(7).Sort("year", true).Sort("price", false)
		if last != nil {
			s = s.SearchAfter(last...)
		}
		page, err := s.Do(ctx)
		if err != nil {
			a.Step("search after", nil, err)
			return
		}
		for _, h := range page.Hits.Hits {
			seen = append(seen, []any{h.Id, h.Sort})
		}
		last = page.Hits.Hits[len(page.Hits.Hits)-1].Sort
	}
	a.Step("search after", seen, nil)
}

func (a *application) searching(q elastic.Query) *elastic.SearchService {
	return a.client.Search(a.many).Query(q)
}

func (a *application) search() {
	step := func(name string, s *elastic.SearchService) {
		found, err := s.Do(ctx)
		a.Step("search: "+name, found, err)
		if err == nil {
			a.Step("search: total of "+name, found.TotalHits(), nil)
		}
	}
	step("all", a.searching(elastic.NewMatchAllQuery()).Size(3).Sort("price", true))
	step("bool", a.searching(elastic.NewBoolQuery().
		Must(elastic.NewMatchQuery("title", "story")).
		Filter(elastic.NewTermQuery("author", "Lem"), elastic.NewRangeQuery("year").Gte(1980).Lt(1990)).
		MustNot(elastic.NewTermsQuery("year", 1982, 1983)).
		Should(elastic.NewMatchPhraseQuery("title", "short story"))).
		Size(4).Sort("year", true).Sort("price", false).
		FetchSourceContext(elastic.NewFetchSourceContext(true).Include("ti*", "reviews.by")))
	step("ids", a.searching(elastic.NewIdsQuery().Ids("m2", "m3")).Sort("price", true))
	step("query string", a.searching(elastic.NewQueryStringQuery("title:endless AND author:Lem")).Size(1).Sort("price", true))
	step("multi match", a.searching(elastic.NewMultiMatchQuery("long story", "title").Type("phrase")).Size(1).Sort("price", true))
	step("nested with inner hits", a.searching(elastic.NewNestedQuery("reviews", elastic.NewTermQuery("reviews.by", "reader 1")).
		InnerHit(elastic.NewInnerHit().Size(1))).Size(1).Sort("price", true))
	step("highlight", a.searching(elastic.NewMatchQuery("title", "endless")).Size(2).Sort("price", true).FetchSource(false).
		Highlight(elastic.NewHighlight().PreTags("<b>").PostTags("</b>").Field("title")))
	step("collapse", a.searching(elastic.NewMatchAllQuery()).Size(3).Sort("price", true).
		Collapse(elastic.NewCollapseBuilder("author").InnerHit(elastic.NewInnerHit().Name("dear").Size(1).Sort("price", false))))
	step("suggest a term", a.searching(elastic.NewMatchAllQuery()).Size(0).
		Suggester(elastic.NewTermSuggester("spelling").Text("endles").Field("title")))
	step("version and post filter", a.searching(elastic.NewMatchAllQuery()).Version(true).Size(1).Sort("price", true).
		PostFilter(elastic.NewTermQuery("author", "Lem")))
	step("nothing", a.searching(elastic.NewTermQuery("author", "nobody")))
	a.aggregate()
	source := func(q elastic.Query, index string) *elastic.SearchRequest {
		return elastic.NewSearchRequest().Index(index).SearchSource(elastic.NewSearchSource().Query(q).Size(1).Sort("price", true))
	}
	several, err := a.client.MultiSearch().Add(source(elastic.NewTermQuery("author", "Lem"), a.many),
		source(elastic.NewMatchAllQuery(), a.Name("nothing")), source(elastic.NewTermQuery("year", 1960), a.many)).Do(ctx)
	a.Step("msearch", several, err)
	found, err := a.searching(elastic.NewRawStringQuery(`{"no_such_query":{}}`)).Do(ctx)
	a.Fails("a query that is none", found, err)
	found, err = a.searching(elastic.NewMatchAllQuery()).Sort("no_such_field", true).Do(ctx)
	a.Fails("sort by what is not mapped", found, err)
	found, err = a.client.Search(a.Name("nothing")).Do(ctx)
	a.Fails("search a missing index", found, err)
	found, err = a.client.Search(a.Name("nothing")).IgnoreUnavailable(true).AllowNoIndices(true).Do(ctx)
	a.Step("search missing indices leniently", found, err)
	valid, err := a.client.Validate(a.many).Query(elastic.NewTermQuery("author", "Lem")).Do(ctx)
	a.Step("validate", valid, err)
	caps, err := a.client.FieldCaps(a.many).Fields("year", "author").Do(ctx)
	a.Step("field caps", caps, err)
	explained, err := a.client.Explain(a.many, "_doc", "m2").Query(elastic.NewTermQuery("author", "Lem")).Do(ctx)
	a.Must(err)
	a.Step("explain", explained.Matched, err)
	a.complete()
}

func (a *application) complete() {
	for i, title := range []string{"Dune", "Dune Messiah", "Solaris"} {
		_, err := a.index().Id(fmt.Sprintf("s%d", i)).Refresh("true").
			BodyJson(map[string]any{"title": title, "suggest": elastic.NewSuggestField(title).Weight(10 - i)}).Do(ctx)
		a.Must(err)
	}
	found, err := a.client.Search(a.books).Size(0).
		Suggester(elastic.NewCompletionSuggester("titles").Prefix("du").Field("suggest")).Do(ctx)
	if err != nil {
		a.Step("suggest completions", nil, err)
		return
	}
	a.Step("suggest completions", found.Suggest, nil)
}

func (a *application) aggregate() {
	found, err := a.searching(elastic.NewMatchAllQuery()).Size(0).
		Aggregation("authors", elastic.NewTermsAggregation().Field("author").Size(3).OrderByKeyAsc().
			SubAggregation("price", elastic.NewStatsAggregation().Field("price")).
			SubAggregation("dear", elastic.NewTopHitsAggregation().Size(1).Sort("price", false))).
		Aggregation("years", elastic.NewDateHistogramAggregation().Field("published").CalendarInterval("year").Format("yyyy-MM-dd")).
		Aggregation("different", elastic.NewCardinalityAggregation().Field("year")).
		Aggregation("reviews", elastic.NewNestedAggregation().Path("reviews").
			SubAggregation("by", elastic.NewTermsAggregation().Field("reviews.by").OrderByCountDesc())).
		Aggregation("prices", elastic.NewRangeAggregation().Field("price").Lt(100).Between(100, 200).Gt(200)).
		Aggregation("lem", elastic.NewFilterAggregation().Filter(elastic.NewTermQuery("author", "Lem"))).
		Aggregation("decades", elastic.NewHistogramAggregation().Field("year").Interval(10).MinDocCount(1)).
		Do(ctx)
	a.Step("aggregations", found, err)
	if err != nil {
		return
	}
	authors, ok := found.Aggregations.Terms("authors")
	var told []any
	for _, b := range authors.Buckets {
		stats, _ := b.Stats("price")
		dear, _ := b.TopHits("dear")
		told = append(told, []any{b.Key, b.DocCount, *stats.Sum, dear.Hits.Hits[0].Id})
	}
	a.Step("buckets of authors", told, nil)
	years, found2 := found.Aggregations.DateHistogram("years")
	told = nil
	for _, b := range years.Buckets {
		told = append(told, []any{b.Key, *b.KeyAsString, b.DocCount})
	}
	a.Step("buckets of years", []any{ok, found2, told}, nil)
}

// changeMany deletes, updates and copies by query.
func (a *application) changeMany() {
	copied, err := a.client.Reindex().SourceIndex(a.many).DestinationIndex(a.copy).Refresh("true").Do(ctx)
	a.Step("reindex", copied, err)
	n, err := a.client.Count(a.copy).Do(ctx)
	a.Step("count the copies", n, err)
	changed, err := a.client.DeleteByQuery(a.copy).Query(elastic.NewTermQuery("author", "Lem")).Refresh("true").Do(ctx)
	a.Step("delete by query", changed, err)
	n, err = a.client.Count(a.copy).Do(ctx)
	a.Step("count what is left", n, err)
	changed, err = a.client.UpdateByQuery(a.copy).Query(elastic.NewTermQuery("author", "Butler")).Refresh("true").ProceedOnVersionConflict().Do(ctx)
	a.Step("update by query", changed, err)
}

func (a *application) administer() {
	alias := a.Name("alias")
	acknowledged, err := a.client.Alias().Add(a.books, alias).Add(a.many, a.Name("both")).Do(ctx)
	a.Step("put aliases", acknowledged, err)
	acknowledged, err = a.client.Alias().AddWithFilter(a.many, a.Name("lem"), elastic.NewTermQuery("author", "Lem")).Do(ctx)
	a.Step("put an alias with a filter", acknowledged, err)
	acknowledged, err = a.client.Alias().Remove(a.books, alias).Add(a.many, alias).Do(ctx)
	a.Step("move an alias", acknowledged, err)
	aliases, err := a.client.Aliases().Index(a.many).Do(ctx)
	if err == nil {
		list := aliases.Indices[a.many].Aliases
		sort.Slice(list, func(i, j int) bool { return list[i].AliasName < list[j].AliasName })
	}
	a.Step("get aliases", aliases, err)
	n, err := a.client.Count(a.Name("lem")).Do(ctx)
	a.Step("count an alias", n, err)
	a.templates()
	stats, err := a.client.IndexStats(a.books).Do(ctx)
	a.Must(err)
	a.Step("stats", stats.Indices[a.books].Primaries.Docs.Count, err)
	health, err := a.client.ClusterHealth().Index(a.books).Do(ctx)
	a.Step("health", health, err)
	indices, err := a.client.CatIndices().Index(a.books).Columns("index", "docs.count", "pri", "rep", "status").Do(ctx)
	a.Step("cat indices", indices, err)
	counts, err := a.client.CatCount().Index(a.many).Columns("count").Do(ctx)
	a.Step("cat count", counts, err)
	listed, err := a.client.CatAliases().Alias(a.Name("lem")).Do(ctx)
	a.Step("cat aliases", listed, err)
	closed, err := a.client.CloseIndex(a.copy).Do(ctx)
	a.Must(err)
	a.Step("close an index", closed.Acknowledged, err)
	found, err := a.client.Search(a.copy).Do(ctx)
	a.Fails("search a closed index", found, err)
	opened, err := a.client.OpenIndex(a.copy).Do(ctx)
	a.Must(err)
	a.Step("open an index", opened.Acknowledged, err)
}

func (a *application) templates() {
	name := a.Name("template")
	put, err := a.client.IndexPutTemplate(name).BodyString(fmt.Sprintf(
		`{"index_patterns":["%slog-*"],"order":1,"settings":{"number_of_shards":1},"mappings":{"properties":{"at":{"type":"date"}}}}`, a.Prefix)).Do(ctx)
	a.Step("put a template", put, err)
	there, err := a.client.IndexTemplateExists(name).Do(ctx)
	a.Step("a template exists", there, err)
	got, err := a.client.IndexGetTemplate(name).Do(ctx)
	a.Step("get a template", got, err)
	_, err = a.client.Index().Index(a.Name("log-1")).Id("1").BodyString(`{"at":"2020-01-01"}`).Do(ctx)
	a.Step("index by a template", true, err)
	mapping, err := a.client.GetMapping().Index(a.Name("log-1")).Do(ctx)
	a.Step("the mapping by a template", mapping, err)
	gone, err := a.client.IndexDeleteTemplate(name).Do(ctx)
	a.Step("delete a template", gone, err)
	got, err = a.client.IndexGetTemplate(name).Do(ctx)
	a.Fails("get a missing template", got, err)
}

func (a *application) leave() {
	gone, err := a.client.DeleteIndex(a.books, a.many, a.copy, a.Name("log-1")).Do(ctx)
	a.Step("delete indices", gone, err)
	gone, err = a.client.DeleteIndex(a.books).Do(ctx)
	a.Fails("delete a missing index", gone, err)
}
