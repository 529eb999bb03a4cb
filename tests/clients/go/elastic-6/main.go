// Command elastic-6 is an application written with go-elasticsearch 6.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"sync"

	"github.com/elastic/go-elasticsearch/v6"
	"github.com/elastic/go-elasticsearch/v6/esapi"
	"github.com/elastic/go-elasticsearch/v6/esutil"

	"github.com/esperanto-es/esperanto/tests/clients/go/library"
	"github.com/esperanto-es/esperanto/tests/clients/go/transcript"
)

const kind = "_doc"

var ctx = context.Background()

// An application and the names it uses.
type application struct {
	*transcript.Program
	es                *elasticsearch.Client
	books, many, copy string
}

func main() {
	p := transcript.New(explain)
	es, err := elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{p.URL}})
	p.Must(err)
	a := &application{p, es, p.Name("books"), p.Name("many"), p.Name("copy")}
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

// An answered error is an answer with the status of one.
type answered struct {
	status int
	body   any
}

func (e *answered) Error() string { return fmt.Sprint(e.status) }

func explain(err error) any {
	var e *answered
	if errors.As(err, &e) {
		return map[string]any{"status": e.status, "body": e.body}
	}
	return err.Error()
}

// read is what the application makes of an answer.
func read(r *esapi.Response, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(body(r))
	if err != nil {
		return nil, err
	}
	var told any = string(text)
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/") && len(text) > 0 {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&told); err != nil {
			return nil, err
		}
	}
	if r.IsError() {
		return nil, &answered{r.StatusCode, told}
	}
	return map[string]any{"status": r.StatusCode, "body": told}, nil
}

func body(r *esapi.Response) io.Reader {
	if r.Body == nil { // of an answer to HEAD
		return strings.NewReader("")
	}
	return r.Body
}

func (a *application) step(name string, r *esapi.Response, err error) {
	told, err := read(r, err)
	a.Step(name, told, err)
}

func (a *application) fails(name string, r *esapi.Response, err error) {
	told, err := read(r, err)
	a.Fails(name, told, err)
}

// decode reads an answer that the application works on.
func (a *application) decode(r *esapi.Response, err error, into any) {
	a.Must(err)
	defer r.Body.Close()
	a.Must(json.NewDecoder(r.Body).Decode(into))
}

func (a *application) meet() {
	r, err := a.es.Info()
	a.step("info", r, err)
	r, err = a.es.Ping()
	a.step("ping", r, err)
	sniffing, err := elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{a.URL}})
	a.Must(err)
	a.Step("discover the nodes", true, sniffing.DiscoverNodes())
	r, err = sniffing.Cat.Count(sniffing.Cat.Count.WithIndex(a.Name("*")), sniffing.Cat.Count.WithH("count"))
	a.step("a request to what was discovered", r, err)
}

func (a *application) createIndices() {
	create := func(name string) (*esapi.Response, error) {
		return a.es.Indices.Create(name, a.es.Indices.Create.WithBody(strings.NewReader(library.Index(kind))))
	}
	r, err := create(a.books)
	a.step("create an index", r, err)
	r, err = create(a.books)
	a.fails("create it again", r, err)
	r, err = create(a.many)
	a.step("create another", r, err)
	r, err = create(a.copy)
	a.step("create a third", r, err)
	r, err = a.es.Indices.Exists([]string{a.books})
	a.step("it exists", r, err)
	r, err = a.es.Indices.Exists([]string{a.Name("nothing")})
	a.fails("another does not", r, err)
	r, err = a.es.Indices.Get([]string{a.books})
	a.step("its whole", r, err)
	r, err = a.es.Indices.Get([]string{a.books}, a.es.Indices.Get.WithFlatSettings(true), a.es.Indices.Get.WithIncludeDefaults(false))
	a.step("its whole, flat", r, err)
	a.mappings()
	r, err = a.es.Indices.PutSettings(strings.NewReader(`{"index":{"refresh_interval":"200ms"}}`), a.es.Indices.PutSettings.WithIndex(a.books))
	a.step("change a setting", r, err)
	r, err = a.es.Indices.GetSettings(a.es.Indices.GetSettings.WithIndex(a.books))
	a.step("its settings", r, err)
	r, err = a.es.Indices.Analyze(a.es.Indices.Analyze.WithIndex(a.books),
		a.es.Indices.Analyze.WithBody(strings.NewReader(`{"analyzer":"titles","text":"The Story of the Stone"}`)))
	a.step("analyze", r, err)
}

func (a *application) mappings() {
	put := func(body string) (*esapi.Response, error) {
		return a.es.Indices.PutMapping(strings.NewReader(body), a.es.Indices.PutMapping.WithIndex(a.books), a.es.Indices.PutMapping.WithDocumentType(kind))
	}
	r, err := put(`{"properties":{"pages":{"type":"integer"}}}`)
	a.step("add a field", r, err)
	r, err = put(`{"properties":{"author":{"type":"text"}}}`)
	a.fails("change a field", r, err)
	r, err = a.es.Indices.GetMapping(a.es.Indices.GetMapping.WithIndex(a.books))
	a.step("its mapping", r, err)
	r, err = a.es.Indices.GetFieldMapping([]string{"title", "reviews.by"}, a.es.Indices.GetFieldMapping.WithIndex(a.books))
	a.step("the mapping of fields", r, err)
}

func (a *application) index(id string, doc any, o ...func(*esapi.IndexRequest)) (*esapi.Response, error) {
	if id != "" {
		o = append(o, a.es.Index.WithDocumentID(id))
	}
	return a.es.Index(a.books, esutil.NewJSONReader(doc), o...)
}

func (a *application) update(id, body string, o ...func(*esapi.UpdateRequest)) (*esapi.Response, error) {
	return a.es.Update(a.books, id, strings.NewReader(body), o...)
}

func (a *application) write() {
	r, err := a.index("1", library.Number(1))
	a.step("index a document", r, err)
	r, err = a.index("1", library.Number(1))
	a.step("index it again", r, err)
	var made struct {
		ID string `json:"_id"`
	}
	r, err = a.index("", library.Number(2), a.es.Index.WithRefresh("true"))
	a.decode(r, err, &made)
	r, err = a.es.Delete(a.books, made.ID)
	a.step("delete what has an id of its own", r, err)
	r, err = a.es.Create(a.books, "2", esutil.NewJSONReader(library.Number(2)))
	a.step("create a document", r, err)
	r, err = a.es.Create(a.books, "2", esutil.NewJSONReader(library.Number(2)))
	a.fails("create it twice", r, err)
	r, err = a.es.Get(a.books, "1")
	a.step("get a document", r, err)
	r, err = a.es.Get(a.books, "1", a.es.Get.WithSourceIncludes("title", "ye*"), a.es.Get.WithRealtime(true))
	a.step("get some fields", r, err)
	r, err = a.es.GetSource(a.books, "1")
	a.step("get the source", r, err)
	r, err = a.es.GetSource(a.books, "none")
	a.fails("get a missing source", r, err)
	r, err = a.es.Get(a.books, "none")
	a.fails("get a missing document", r, err)
	r, err = a.es.Get(a.Name("nothing"), "1")
	a.fails("get from a missing index", r, err)
	r, err = a.es.Exists(a.books, "1")
	a.step("a document exists", r, err)
	r, err = a.es.Exists(a.books, "none")
	a.fails("a document does not exist", r, err)
	r, err = a.es.Delete(a.books, "none")
	a.fails("delete a missing document", r, err)
	r, err = a.update("1", `{"doc":{"price":12.5}}`)
	a.step("update a document", r, err)
	r, err = a.update("1", `{"doc":{"price":12.5}}`)
	a.step("update that changes nothing", r, err)
	r, err = a.update("3", `{"doc":{"year":1999},"upsert":{"title":"new","year":1998}}`)
	a.step("upsert", r, err)
	r, err = a.update("3", `{"doc":{"year":1999},"doc_as_upsert":true}`, a.es.Update.WithSource("true"), a.es.Update.WithRetryOnConflict(2))
	a.step("update with its source", r, err)
	r, err = a.update("none", `{"doc":{"year":1}}`)
	a.fails("update a missing document", r, err)
	r, err = a.index("r", library.Number(5), a.es.Index.WithRouting("Lem"), a.es.Index.WithRefresh("wait_for"))
	a.step("index with routing", r, err)
	r, err = a.es.Get(a.books, "r", a.es.Get.WithRouting("Lem"))
	a.step("get with routing", r, err)
	r, err = a.es.Delete(a.books, "r", a.es.Delete.WithRouting("Lem"))
	a.step("delete with routing", r, err)
	r, err = a.index("v", library.Number(7), a.es.Index.WithVersion(7), a.es.Index.WithVersionType("external"))
	a.step("external version", r, err)
	r, err = a.index("v", library.Number(7), a.es.Index.WithVersion(7), a.es.Index.WithVersionType("external"))
	a.fails("the same external version", r, err)
	r, err = a.index("v", library.Number(7), a.es.Index.WithVersion(7), a.es.Index.WithVersionType("external_gte"))
	a.step("the same external version, or greater", r, err)
	a.conditions()
	r, err = a.index("w", map[string]any{"year": "not a year"})
	a.fails("a wrong value", r, err)
	r, err = a.es.Mget(strings.NewReader(`{"docs":[{"_id":"1","_source":["title"]},{"_id":"none"},{"_id":"2","_source":false}]}`), a.es.Mget.WithIndex(a.books))
	a.step("mget", r, err)
	r, err = a.es.Mget(strings.NewReader(`{"ids":["1","none"]}`), a.es.Mget.WithIndex(a.books), a.es.Mget.WithSourceIncludes("year"))
	a.step("mget of ids", r, err)
}

// conditions are writes that depend on what was read.
func (a *application) conditions() {
	var seen struct {
		SeqNo int `json:"_seq_no"`
		Term  int `json:"_primary_term"`
	}
	r, err := a.es.Get(a.books, "2")
	a.decode(r, err, &seen)
	conditional := func() (*esapi.Response, error) {
		return a.index("2", library.Number(2), a.es.Index.WithIfSeqNo(seen.SeqNo), a.es.Index.WithIfPrimaryTerm(seen.Term))
	}
	r, err = conditional()
	a.step("index what was seen", r, err)
	r, err = conditional()
	a.fails("index what was changed", r, err)
	r, err = a.es.Delete(a.books, "2", a.es.Delete.WithIfSeqNo(seen.SeqNo), a.es.Delete.WithIfPrimaryTerm(seen.Term))
	a.fails("delete what was changed", r, err)
}

func (a *application) bulk() {
	lines := strings.Join([]string{
		`{"index":{"_id":"10"}}`, `{"title":"ten","year":1910}`,
		`{"create":{"_id":"1"}}`, `{"year":1}`,
		`{"update":{"_id":"10","retry_on_conflict":3}}`, `{"doc":{"year":1911}}`,
		`{"update":{"_id":"none"}}`, `{"doc":{"year":1911}}`,
		`{"delete":{"_id":"none"}}`,
		`{"index":{"_id":"11"}}`, `{"year":"wrong"}`,
		`{"index":{"_id":"12","routing":"x"}}`, `{"year":1912}`, "",
	}, "\n")
	r, err := a.es.Bulk(strings.NewReader(lines), a.es.Bulk.WithIndex(a.books), a.es.Bulk.WithDocumentType(kind), a.es.Bulk.WithRefresh("true"))
	a.step("bulk", r, err)
	a.indexer()
}

// indexer writes many documents with the library's own bulk indexer.
func (a *application) indexer() {
	var mu sync.Mutex
	var told []string
	tell := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, text)
	}
	indexer, err := esutil.NewBulkIndexer(esutil.BulkIndexerConfig{Client: a.es, Index: a.many, DocumentType: kind, NumWorkers: 2, FlushBytes: 50_000,
		OnError: func(_ context.Context, err error) { tell(err.Error()) }})
	a.Must(err)
	add := func(action, id, doc string) {
		item := esutil.BulkIndexerItem{Action: action, DocumentID: id,
			OnSuccess: func(_ context.Context, i esutil.BulkIndexerItem, r esutil.BulkIndexerResponseItem) {
				if i.Action != "index" {
					tell(fmt.Sprint(i.Action, " ", i.DocumentID, " ", r.Status, " ", r.Result))
				}
			},
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
	add("update", "none", `{"doc":{"year":1}}`)
	err = indexer.Close(ctx)
	sort.Strings(told)
	s := indexer.Stats()
	a.Step("bulk indexer", map[string]any{"added": s.NumAdded, "flushed": s.NumFlushed, "failed": s.NumFailed, "indexed": s.NumIndexed, "told": told}, err)
	r, err := a.es.Indices.Refresh(a.es.Indices.Refresh.WithIndex(a.many))
	a.step("refresh", r, err)
	r, err = a.es.Indices.Flush(a.es.Indices.Flush.WithIndex(a.many))
	a.step("flush", r, err)
	r, err = a.es.Count(a.es.Count.WithIndex(a.many))
	a.step("count", r, err)
	r, err = a.es.Count(a.es.Count.WithIndex(a.many), a.es.Count.WithQuery("author:Lem"))
	a.step("count with a query in the URL", r, err)
}

type page struct {
	Scroll string `json:"_scroll_id"`
	Hits   struct {
		Hits []struct {
			ID   string `json:"_id"`
			Sort []any  `json:"sort"`
		} `json:"hits"`
	} `json:"hits"`
}

func (a *application) pages() {
	var p page
	r, err := a.searching(`{"size":500,"_source":false,"sort":["price"]}`, a.es.Search.WithScroll(60_000_000_000))
	a.decode(r, err, &p)
	var ids []string
	for len(p.Hits.Hits) > 0 {
		for _, h := range p.Hits.Hits {
			ids = append(ids, h.ID)
		}
		r, err = a.es.Scroll(a.es.Scroll.WithScrollID(p.Scroll), a.es.Scroll.WithScroll(60_000_000_000))
		p.Hits.Hits = nil
		a.decode(r, err, &p)
	}
	a.Step("scroll", []any{len(ids), ids[:20], ids[len(ids)-20:]}, nil)
	r, err = a.es.ClearScroll(a.es.ClearScroll.WithScrollID(p.Scroll))
	a.step("clear the scroll", r, err)
	r, err = a.es.Scroll(a.es.Scroll.WithScrollID(p.Scroll))
	a.fails("a cleared scroll", r, err)
	var seen []any
	after := ""
	for range 3 {
		var p page
		r, err := a.searching(`{"size":7,"_source":false,"sort":[{"year":"asc"},{"price":"desc"}]` + after + `}`)
		a.decode(r, err, &p)
		for _, h := range p.Hits.Hits {
			seen = append(seen, []any{h.ID, h.Sort})
		}
		last, err := json.Marshal(p.Hits.Hits[len(p.Hits.Hits)-1].Sort)
		a.Must(err)
		after = `,"search_after":` + string(last)
	}
	a.Step("search after", seen, nil)
}

func (a *application) searching(body string, o ...func(*esapi.SearchRequest)) (*esapi.Response, error) {
	return a.es.Search(append(o, a.es.Search.WithIndex(a.many), a.es.Search.WithBody(strings.NewReader(body)))...)
}

func (a *application) search() {
	for _, s := range [][2]string{
		{"all", `{"size":3,"sort":["price"]}`},
		{"bool", `{"query":{"bool":{"must":[{"match":{"title":"story"}}],"filter":[{"term":{"author":"Lem"}},{"range":{"year":{"gte":1980,"lt":1990}}}],
			"must_not":[{"terms":{"year":[1982]}}],"should":[{"match_phrase":{"title":"short story"}}]}},"size":4,"sort":[{"year":"asc"},{"price":"desc"}],"_source":["ti*"]}`},
		{"prefix, wildcard, exists", `{"query":{"bool":{"filter":[{"prefix":{"author":"Le"}},{"wildcard":{"author":"*m"}},{"exists":{"field":"year"}}]}},"size":1,"sort":["price"]}`},
		{"fuzzy", `{"query":{"match":{"title":{"query":"endles","fuzziness":"AUTO"}}},"size":1,"sort":["price"]}`},
		{"nested", `{"query":{"nested":{"path":"reviews","query":{"term":{"reviews.by":"reader 1"}},"inner_hits":{}}},"size":1,"sort":["price"]}`},
		{"highlight", `{"query":{"match":{"title":"endless"}},"size":2,"sort":["price"],"_source":false,"highlight":{"fields":{"title":{}}}}`},
		{"collapse", `{"size":3,"sort":["price"],"collapse":{"field":"author"},"_source":["author"]}`},
		{"suggest", `{"size":0,"suggest":{"spelling":{"text":"endles","term":{"field":"title"}}}}`},
		{"aggregations", `{"size":0,"aggs":{"authors":{"terms":{"field":"author","order":{"_key":"asc"}},"aggs":{"price":{"stats":{"field":"price"}},
			"dear":{"top_hits":{"size":1,"sort":[{"price":"desc"}],"_source":["title"]}}}},
			"years":{"date_histogram":{"field":"published","` + interval + `":"year"}},"different":{"cardinality":{"field":"year"}},
			"reviews":{"nested":{"path":"reviews"},"aggs":{"by":{"terms":{"field":"reviews.by"}}}},
			"prices":{"range":{"field":"price","keyed":true,"ranges":[{"to":100},{"from":100}]}}}}`},
	} {
		r, err := a.searching(s[1])
		a.step("search: "+s[0], r, err)
	}
	r, err := a.searching(`{"size":1,"sort":["price"]}`, a.es.Search.WithTrackTotalHits(true), a.es.Search.WithFilterPath("hits.total", "hits.hits._id"))
	a.step("search: filter path", r, err)
	r, err = a.es.Search(a.es.Search.WithIndex(a.many), a.es.Search.WithQuery("author:Lem"), a.es.Search.WithSize(1), a.es.Search.WithSort("price:desc"), a.es.Search.WithSourceIncludes("year"))
	a.step("search: in the URL", r, err)
	r, err = a.searching(`{"query":{"no_such_query":{}}}`)
	a.fails("a query that is none", r, err)
	r, err = a.searching(`{"sort":["no_such_field"]}`)
	a.fails("sort by what is not mapped", r, err)
	r, err = a.es.Search(a.es.Search.WithIndex(a.Name("nothing")))
	a.fails("search a missing index", r, err)
	lines := fmt.Sprintf("{\"index\":%q}\n{\"size\":1,\"sort\":[\"price\"]}\n{\"index\":%q}\n{}\n{\"index\":%[1]q}\n{\"query\":{\"term\":{\"author\":\"Lem\"}},\"size\":0}\n", a.many, a.Name("nothing"))
	r, err = a.es.Msearch(strings.NewReader(lines))
	a.step("msearch", r, err)
	r, err = a.es.FieldCaps(a.es.FieldCaps.WithIndex(a.many), a.es.FieldCaps.WithFields("year", "author"))
	a.step("field caps", r, err)
	r, err = a.es.Explain(a.many, "m2", a.es.Explain.WithBody(strings.NewReader(`{"query":{"term":{"author":"nobody"}}}`)), a.es.Explain.WithFilterPath("_id", "matched"))
	a.step("explain", r, err)
	r, err = a.es.Termvectors(a.many, a.es.Termvectors.WithDocumentID("m2"), a.es.Termvectors.WithFields("title"), a.es.Termvectors.WithFieldStatistics(false))
	a.step("term vectors", r, err)
}

const interval = "interval"

// changeMany deletes, updates and copies by query.
func (a *application) changeMany() {
	reindex := fmt.Sprintf(`{"source":{"index":%q},"dest":{"index":%q}}`, a.many, a.copy)
	r, err := a.es.Reindex(strings.NewReader(reindex), a.es.Reindex.WithRefresh(true))
	a.step("reindex", r, err)
	r, err = a.es.DeleteByQuery([]string{a.copy}, strings.NewReader(`{"query":{"term":{"author":"Lem"}}}`), a.es.DeleteByQuery.WithRefresh(true))
	a.step("delete by query", r, err)
	r, err = a.es.UpdateByQuery([]string{a.copy}, a.es.UpdateByQuery.WithBody(strings.NewReader(`{"query":{"term":{"author":"Butler"}}}`)),
		a.es.UpdateByQuery.WithConflicts("proceed"), a.es.UpdateByQuery.WithRefresh(true))
	a.step("update by query", r, err)
	r, err = a.es.Count(a.es.Count.WithIndex(a.copy))
	a.step("count what is left", r, err)
}

func (a *application) administer() {
	alias := a.Name("alias")
	r, err := a.es.Indices.PutAlias([]string{a.books}, alias)
	a.step("put an alias", r, err)
	r, err = a.es.Indices.UpdateAliases(strings.NewReader(fmt.Sprintf(
		`{"actions":[{"remove":{"index":%q,"alias":%q}},{"add":{"index":%q,"alias":%[2]q,"filter":{"term":{"author":"Lem"}},"routing":"1"}}]}`, a.books, alias, a.many)))
	a.step("move an alias", r, err)
	r, err = a.es.Indices.GetAlias(a.es.Indices.GetAlias.WithName(alias))
	a.step("get an alias", r, err)
	r, err = a.es.Indices.GetAlias(a.es.Indices.GetAlias.WithName(a.Name("none")))
	a.fails("get a missing alias", r, err)
	r, err = a.es.Indices.ExistsAlias([]string{alias})
	a.step("an alias exists", r, err)
	r, err = a.es.Indices.DeleteAlias([]string{a.many}, []string{alias})
	a.step("delete an alias", r, err)
	a.templates()
	r, err = a.es.Cluster.Health(a.es.Cluster.Health.WithIndex(a.books))
	a.step("health", r, err)
	r, err = a.es.Cat.Indices(a.es.Cat.Indices.WithIndex(a.books), a.es.Cat.Indices.WithH("index,docs.count,pri,rep,status"), a.es.Cat.Indices.WithV(true))
	a.step("cat indices", r, err)
	r, err = a.es.Cat.Indices(a.es.Cat.Indices.WithIndex(a.many), a.es.Cat.Indices.WithH("index,docs.count"), a.es.Cat.Indices.WithFormat("json"))
	a.step("cat indices as JSON", r, err)
	r, err = a.es.Indices.Close([]string{a.copy}, a.es.Indices.Close.WithFilterPath("acknowledged"))
	a.step("close an index", r, err)
	r, err = a.es.Search(a.es.Search.WithIndex(a.copy))
	a.fails("search a closed index", r, err)
	r, err = a.es.Indices.Open([]string{a.copy})
	a.step("open an index", r, err)
	r, err = a.es.Indices.Stats(a.es.Indices.Stats.WithIndex(a.books), a.es.Indices.Stats.WithMetric("docs"), a.es.Indices.Stats.WithFilterPath("indices.*.primaries"))
	a.step("stats", r, err)
	r, err = a.es.Ingest.PutPipeline(a.Name("pipe"), strings.NewReader(`{"description":"nothing","processors":[]}`))
	a.step("put a pipeline", r, err)
	r, err = a.es.Ingest.GetPipeline(a.es.Ingest.GetPipeline.WithPipelineID(a.Name("pipe")))
	a.step("get a pipeline", r, err)
	r, err = a.es.Ingest.DeletePipeline(a.Name("pipe"))
	a.step("delete a pipeline", r, err)
}

func (a *application) templates() {
	name := a.Name("template")
	r, err := a.es.Indices.PutTemplate(name, strings.NewReader(fmt.Sprintf(
		`{"index_patterns":["%slog-*"],"order":1,"settings":{"number_of_shards":1},"mappings":`+dated+`}`, a.Prefix)))
	a.step("put a template", r, err)
	r, err = a.es.Indices.GetTemplate(a.es.Indices.GetTemplate.WithName(name))
	a.step("get a template", r, err)
	r, err = a.es.Index(a.Name("log-1"), strings.NewReader(`{"at":"2020-01-01"}`), a.es.Index.WithDocumentID("1"))
	a.step("index by a template", r, err)
	r, err = a.es.Indices.GetMapping(a.es.Indices.GetMapping.WithIndex(a.Name("log-1")))
	a.step("the mapping by a template", r, err)
	r, err = a.es.Indices.DeleteTemplate(name)
	a.step("delete a template", r, err)
	r, err = a.es.Indices.GetTemplate(a.es.Indices.GetTemplate.WithName(name))
	a.fails("get a missing template", r, err)
}

const dated = `{"_doc":{"properties":{"at":{"type":"date"}}}}`

func (a *application) leave() {
	r, err := a.es.Indices.Delete([]string{a.books, a.many, a.copy, a.Name("log-1")})
	a.step("delete indices", r, err)
	r, err = a.es.Indices.Delete([]string{a.books})
	a.fails("delete a missing index", r, err)
}
