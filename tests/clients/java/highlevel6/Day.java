import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import org.apache.http.HttpHost;
import org.elasticsearch.ElasticsearchException;
import org.elasticsearch.action.DocWriteRequest;
import org.elasticsearch.action.admin.cluster.health.ClusterHealthRequest;
import org.elasticsearch.action.admin.cluster.health.ClusterHealthResponse;
import org.elasticsearch.action.admin.cluster.settings.ClusterUpdateSettingsRequest;
import org.elasticsearch.action.admin.indices.alias.Alias;
import org.elasticsearch.action.admin.indices.alias.IndicesAliasesRequest;
import org.elasticsearch.action.admin.indices.alias.IndicesAliasesRequest.AliasActions;
import org.elasticsearch.action.admin.indices.alias.get.GetAliasesRequest;
import org.elasticsearch.action.admin.indices.analyze.AnalyzeRequest;
import org.elasticsearch.action.admin.indices.cache.clear.ClearIndicesCacheRequest;
import org.elasticsearch.action.admin.indices.close.CloseIndexRequest;
import org.elasticsearch.action.admin.indices.create.CreateIndexRequest;
import org.elasticsearch.action.admin.indices.delete.DeleteIndexRequest;
import org.elasticsearch.action.admin.indices.flush.FlushRequest;
import org.elasticsearch.action.admin.indices.forcemerge.ForceMergeRequest;
import org.elasticsearch.action.admin.indices.mapping.get.GetFieldMappingsRequest;
import org.elasticsearch.action.admin.indices.mapping.get.GetMappingsRequest;
import org.elasticsearch.action.admin.indices.mapping.put.PutMappingRequest;
import org.elasticsearch.action.admin.indices.open.OpenIndexRequest;
import org.elasticsearch.action.admin.indices.refresh.RefreshRequest;
import org.elasticsearch.action.admin.indices.settings.get.GetSettingsRequest;
import org.elasticsearch.action.admin.indices.settings.put.UpdateSettingsRequest;
import org.elasticsearch.action.admin.indices.template.delete.DeleteIndexTemplateRequest;
import org.elasticsearch.action.admin.indices.template.put.PutIndexTemplateRequest;
import org.elasticsearch.action.admin.indices.validate.query.ValidateQueryRequest;
import org.elasticsearch.action.bulk.BulkItemResponse;
import org.elasticsearch.action.bulk.BulkProcessor;
import org.elasticsearch.action.bulk.BulkRequest;
import org.elasticsearch.action.bulk.BulkResponse;
import org.elasticsearch.action.delete.DeleteRequest;
import org.elasticsearch.action.explain.ExplainRequest;
import org.elasticsearch.action.fieldcaps.FieldCapabilitiesRequest;
import org.elasticsearch.action.get.GetRequest;
import org.elasticsearch.action.get.GetResponse;
import org.elasticsearch.action.get.MultiGetRequest;
import org.elasticsearch.action.index.IndexRequest;
import org.elasticsearch.action.ingest.DeletePipelineRequest;
import org.elasticsearch.action.ingest.GetPipelineRequest;
import org.elasticsearch.action.ingest.PutPipelineRequest;
import org.elasticsearch.action.search.ClearScrollRequest;
import org.elasticsearch.action.search.MultiSearchRequest;
import org.elasticsearch.action.search.SearchRequest;
import org.elasticsearch.action.search.SearchResponse;
import org.elasticsearch.action.search.SearchScrollRequest;
import org.elasticsearch.action.support.WriteRequest.RefreshPolicy;
import org.elasticsearch.action.update.UpdateRequest;
import org.elasticsearch.client.Request;
import org.elasticsearch.client.RequestOptions;
import org.elasticsearch.client.ResponseException;
import org.elasticsearch.client.RestClient;
import org.elasticsearch.client.RestHighLevelClient;
import org.elasticsearch.client.core.CountRequest;
import org.elasticsearch.client.core.CountResponse;
import org.elasticsearch.client.indices.GetIndexRequest;
import org.elasticsearch.client.indices.GetIndexResponse;
import org.elasticsearch.client.indices.GetIndexTemplatesRequest;
import org.elasticsearch.client.indices.IndexTemplateMetaData;
import org.elasticsearch.client.indices.IndexTemplatesExistRequest;
import org.elasticsearch.client.sniff.ElasticsearchNodesSniffer;
import org.elasticsearch.cluster.metadata.MappingMetaData;
import org.elasticsearch.common.Strings;
import org.elasticsearch.common.bytes.BytesArray;
import org.elasticsearch.common.unit.TimeValue;
import org.elasticsearch.common.xcontent.ToXContent;
import org.elasticsearch.common.xcontent.XContentType;
import org.elasticsearch.index.VersionType;
import org.elasticsearch.index.query.BoolQueryBuilder;
import org.elasticsearch.index.query.InnerHitBuilder;
import org.elasticsearch.index.query.QueryBuilders;
import org.elasticsearch.index.reindex.DeleteByQueryRequest;
import org.elasticsearch.index.reindex.ReindexRequest;
import org.elasticsearch.index.reindex.UpdateByQueryRequest;
import org.elasticsearch.search.aggregations.AggregationBuilders;
import org.elasticsearch.search.aggregations.BucketOrder;
import org.elasticsearch.search.aggregations.bucket.histogram.DateHistogramInterval;
import org.elasticsearch.search.builder.SearchSourceBuilder;
import org.elasticsearch.search.collapse.CollapseBuilder;
import org.elasticsearch.search.fetch.subphase.FetchSourceContext;
import org.elasticsearch.search.fetch.subphase.highlight.HighlightBuilder;
import org.elasticsearch.search.sort.SortBuilders;
import org.elasticsearch.search.sort.SortOrder;
import org.elasticsearch.search.suggest.SuggestBuilder;
import org.elasticsearch.search.suggest.SuggestBuilders;

/** The high-level REST client of 6.8 as an application uses it: Day url prefix. It parses answers strictly. */
@SuppressWarnings("deprecation")
public class Day {
    static final RequestOptions DEFAULT = RequestOptions.DEFAULT;
    static final String TYPE = "book";

    public static void main(String[] args) throws Exception {
        String url = args[0], prefix = args[1];
        try (RestHighLevelClient client = new RestHighLevelClient(RestClient.builder(HttpHost.create(url)))) {
            new Day(client, prefix).run();
        }
    }

    final RestHighLevelClient client;
    final String prefix;
    final Steps steps = new Steps(Day::printable, Day::describe);

    Day(RestHighLevelClient client, String prefix) {
        this.client = client;
        this.prefix = prefix;
    }

    /** Answers print what has been parsed of them. */
    static Object printable(Object value) {
        if (value instanceof MappingMetaData) {
            return Steps.map("type", ((MappingMetaData) value).type(), "mapping", ((MappingMetaData) value).sourceAsMap());
        }
        return value instanceof ToXContent ? new Steps.Raw(Strings.toString((ToXContent) value)) : value;
    }

    static final Pattern TYPE_OF_ERROR = Pattern.compile("type=(\\w+)");

    static Map<String, Object> describe(Throwable e) {
        if (e instanceof ResponseException) {
            return Steps.map("class", e.getClass().getSimpleName(), "status", ((ResponseException) e).getResponse().getStatusLine().getStatusCode());
        }
        if (!(e instanceof ElasticsearchException)) {
            return null;
        }
        ElasticsearchException known = (ElasticsearchException) e;
        Matcher type = TYPE_OF_ERROR.matcher(String.valueOf(e.getMessage()));
        List<Object> suppressed = new ArrayList<>();
        for (Throwable s : e.getSuppressed()) {
            suppressed.add(s.getClass().getSimpleName());
        }
        return Steps.map("class", e.getClass().getSimpleName(), "status", known.status(), "type", type.find() ? type.group(1) : "", "index", known.getMetadata("es.index"),
            "suppressed", suppressed, "reason", String.valueOf(e.getMessage()));
    }

    String name(String n) {
        return prefix + n;
    }

    void step(String name, Callable<Object> run) {
        steps.step(name, run);
    }

    void fails(String name, Callable<Object> run) {
        steps.fails(name, run);
    }

    void search(String what, SearchSourceBuilder source) {
        step("search " + what, () -> client.search(new SearchRequest(new String[] {name("books")}, source).types(TYPE), DEFAULT));
    }

    static SearchSourceBuilder source() {
        return new SearchSourceBuilder();
    }

    IndexRequest index(String id, Object... source) {
        return new IndexRequest(name("books"), TYPE, id).source(Steps.map(source));
    }

    IndexRequest shelf(int n) {
        return new IndexRequest(name("books"), TYPE, String.valueOf(n + 1)).source(Steps.SHELF.get(n));
    }

    void run() throws Exception {
        String books = name("books"), events = name("events"), films = name("films");
        step("ping", () -> client.ping(DEFAULT));
        step("info", () -> Steps.map("number", client.info(DEFAULT).getVersion().toString(), "available", client.info(DEFAULT).isAvailable()));
        step("create an index", () -> {
            CreateIndexRequest r = new CreateIndexRequest(books).settings(Steps.SETTINGS, XContentType.JSON).mapping(TYPE, Steps.MAPPING, XContentType.JSON)
                .alias(new Alias(name("library")));
            return client.indices().create(r, DEFAULT);
        });
        step("create an index without a type", () -> {
            org.elasticsearch.client.indices.CreateIndexRequest r = new org.elasticsearch.client.indices.CreateIndexRequest(events)
                .settings("{\"number_of_shards\": 2, \"number_of_replicas\": 0}", XContentType.JSON)
                .mapping("{\"properties\": {\"word\": {\"type\": \"keyword\"}, \"at\": {\"type\": \"date\"}}}", XContentType.JSON);
            return Steps.map("index", client.indices().create(r, DEFAULT).index());
        });
        step("health", () -> {
            ClusterHealthRequest r = new ClusterHealthRequest(books).waitForYellowStatus();
            r.level(ClusterHealthRequest.Level.SHARDS);
            ClusterHealthResponse a = client.cluster().health(r, DEFAULT);
            return Steps.map("status", a.getStatus(), "timed out", a.isTimedOut(), "index", a.getIndices().get(books));
        });
        fails("create it again", () -> client.indices().create(new CreateIndexRequest(books), DEFAULT));
        fails("create one with a wrong mapping",
            () -> client.indices().create(new CreateIndexRequest(name("wrong")).mapping(TYPE, "{\"properties\": {\"a\": {\"type\": \"nonsense\"}}}", XContentType.JSON), DEFAULT));
        step("index exists", () -> client.indices().exists(new GetIndexRequest(books), DEFAULT));
        step("index does not exist", () -> client.indices().exists(new GetIndexRequest(films), DEFAULT));
        step("get the index", () -> {
            GetIndexResponse r = client.indices().get(new GetIndexRequest(books), DEFAULT);
            return Steps.map("indices", r.getIndices(), "mappings", r.getMappings(), "aliases", String.valueOf(r.getAliases().get(books).get(0).alias()), "shards",
                r.getSetting(books, "index.number_of_shards"), "tokenizer", r.getSetting(books, "index.analysis.analyzer.titles.tokenizer"));
        });
        step("get the index with its type", () -> {
            org.elasticsearch.action.admin.indices.get.GetIndexResponse r = client.indices()
                .get(new org.elasticsearch.action.admin.indices.get.GetIndexRequest().indices(books), DEFAULT);
            return Steps.map("type", r.mappings().get(books).keysIt().next());
        });
        step("get the mapping", () -> client.indices().getMapping(new org.elasticsearch.client.indices.GetMappingsRequest().indices(books), DEFAULT).mappings());
        step("get the mapping with its type", () -> client.indices().getMapping(new GetMappingsRequest().indices(books).types(TYPE), DEFAULT));
        step("get the mapping of a field", () -> client.indices().getFieldMapping(new GetFieldMappingsRequest().indices(books).types(TYPE).fields("title", "author"), DEFAULT));
        step("get the mapping of a field without a type", () -> {
            Map<String, Object> found = new TreeMap<>();
            client.indices().getFieldMapping(new org.elasticsearch.client.indices.GetFieldMappingsRequest().indices(books).fields("title"), DEFAULT).mappings().get(books)
                .forEach((k, v) -> found.put(k, v.sourceAsMap()));
            return found;
        });
        step("get the settings", () -> {
            Map<String, Object> found = new TreeMap<>();
            client.indices().getSettings(new GetSettingsRequest().indices(books), DEFAULT).getIndexToSettings().get(books).getByPrefix("index.analysis.").keySet()
                .forEach(k -> found.put(k, true));
            return found;
        });
        step("put a mapping", () -> client.indices().putMapping(
            new PutMappingRequest(books).type(TYPE).source("{\"properties\": {\"isbn\": {\"type\": \"keyword\"}, \"pages\": {\"type\": \"long\"}}}", XContentType.JSON), DEFAULT));
        step("put a mapping without a type", () -> client.indices().putMapping(
            new org.elasticsearch.client.indices.PutMappingRequest(books).source("{\"properties\": {\"cover\": {\"type\": \"keyword\"}}}", XContentType.JSON), DEFAULT));
        fails("put a conflicting mapping", () -> client.indices().putMapping(
            new PutMappingRequest(books).type(TYPE).source("{\"properties\": {\"isbn\": {\"type\": \"long\"}}}", XContentType.JSON), DEFAULT));
        step("put a setting", () -> client.indices().putSettings(new UpdateSettingsRequest(books).settings("{\"index.refresh_interval\": \"5s\"}", XContentType.JSON), DEFAULT));
        step("analyze", () -> client.indices().analyze(new AnalyzeRequest(books).analyzer("titles").text("The Name of the Rose"), DEFAULT));

        step("index", () -> client.index(shelf(0), DEFAULT));
        step("index again", () -> client.index(shelf(0), DEFAULT));
        step("create", () -> client.index(shelf(1).create(true).setRefreshPolicy(RefreshPolicy.WAIT_UNTIL), DEFAULT));
        fails("create what exists", () -> client.index(shelf(1).opType(DocWriteRequest.OpType.CREATE), DEFAULT));
        step("index with a routing", () -> client.index(index("r", "title", "Fiasco").routing("poland").setRefreshPolicy(RefreshPolicy.IMMEDIATE), DEFAULT));
        step("index without an id", () -> client.index(new IndexRequest(events, "_doc").source(Map.of("word", "amber", "number", -1)), DEFAULT).getResult());
        fails("index malformed", () -> client.index(index("m", "year", "none"), DEFAULT));
        fails("index an older version", () -> client.index(shelf(1).version(7), DEFAULT));
        step("index with the right version", () -> client.index(shelf(1).version(1), DEFAULT));
        step("index with an external version", () -> client.index(index("x", "title", "External").version(40).versionType(VersionType.EXTERNAL), DEFAULT));
        fails("index with an older external version", () -> client.index(index("x", "title", "External").version(39).versionType(VersionType.EXTERNAL), DEFAULT));
        step("index if nobody has changed it", () -> {
            GetResponse found = client.get(new GetRequest(books, TYPE, "1"), DEFAULT);
            return client.index(shelf(0).setIfSeqNo(found.getSeqNo()).setIfPrimaryTerm(found.getPrimaryTerm()), DEFAULT);
        });
        fails("index though somebody has changed it", () -> client.index(shelf(0).setIfSeqNo(4711).setIfPrimaryTerm(1), DEFAULT));
        step("get", () -> client.get(new GetRequest(books, TYPE, "1"), DEFAULT));
        step("get some of it", () -> client.get(new GetRequest(books, TYPE, "1").fetchSourceContext(new FetchSourceContext(true, new String[] {"title", "reviews.by"}, null)), DEFAULT));
        step("get with a routing", () -> client.get(new GetRequest(books, TYPE, "r").routing("poland"), DEFAULT));
        step("get of any type", () -> client.get(new GetRequest(books, "_all", "1"), DEFAULT));
        step("get what is missing", () -> client.get(new GetRequest(books, TYPE, "99"), DEFAULT));
        fails("get from a missing index", () -> client.get(new GetRequest(films, TYPE, "1"), DEFAULT));
        step("exists", () -> client.exists(new GetRequest(books, TYPE, "1"), DEFAULT));
        step("does not exist", () -> client.exists(new GetRequest(books, TYPE, "99"), DEFAULT));
        step("the source exists", () -> client.existsSource(new GetRequest(books, TYPE, "1"), DEFAULT));
        step("update", () -> client.update(new UpdateRequest(books, TYPE, "1").doc(Map.of("pages", 304)).retryOnConflict(2).fetchSource(true), DEFAULT));
        step("update that changes nothing", () -> {
            // 6.x numbers a write that changes nothing in its own way.
            var r = client.update(new UpdateRequest(books, TYPE, "1").doc(Map.of("pages", 304)), DEFAULT);
            return List.of(r.getId(), r.getResult(), r.getVersion(), r.status());
        });
        fails("update what is missing", () -> client.update(new UpdateRequest(books, TYPE, "99").doc(Map.of("pages", 1)), DEFAULT));
        step("upsert", () -> client.update(new UpdateRequest(books, TYPE, "u").doc(Map.of("pages", 2)).upsert(Map.of("title", "Upserted")), DEFAULT));
        step("upsert by the document", () -> client.update(new UpdateRequest(books, TYPE, "v").doc(Map.of("title", "Upserted too")).docAsUpsert(true), DEFAULT));
        step("delete", () -> client.delete(new DeleteRequest(books, TYPE, "v"), DEFAULT));
        step("delete what is missing", () -> client.delete(new DeleteRequest(books, TYPE, "v"), DEFAULT));

        step("bulk with mixed results", () -> bulk(client.bulk(new BulkRequest()
            .add(shelf(0)).add(shelf(1).create(true)).add(shelf(2)).add(shelf(3)).add(shelf(4))
            .add(index("6", "year", "none"))
            .add(new UpdateRequest(books, TYPE, "3").doc(Map.of("pages", 204)))
            .add(new UpdateRequest(books, TYPE, "98").doc(Map.of("pages", 204)))
            .add(new DeleteRequest(books, TYPE, "u")).add(new DeleteRequest(books, TYPE, "x")).add(new DeleteRequest(books, TYPE, "r").routing("poland"))
            .add(new DeleteRequest(books, TYPE, "97"))
            .setRefreshPolicy(RefreshPolicy.IMMEDIATE), DEFAULT)));
        step("read many", () -> client.mget(new MultiGetRequest().add(new MultiGetRequest.Item(books, TYPE, "1")
            .fetchSourceContext(new FetchSourceContext(true, new String[] {"title"}, null))).add(books, TYPE, "99").add(books, TYPE, "3"), DEFAULT));
        step("read many from a missing index", () -> describe(client.mget(new MultiGetRequest().add(films, TYPE, "1"), DEFAULT).getResponses()[0].getFailure().getFailure()));

        search("everything", source().query(QueryBuilders.matchAllQuery()).sort("year"));
        search("match with a highlight", source().query(QueryBuilders.matchQuery("title", "darkness")).highlighter(new HighlightBuilder().field("title").preTags("<b>").postTags("</b>")));
        BoolQueryBuilder bool = QueryBuilders.boolQuery().must(QueryBuilders.matchQuery("author", "lem")).filter(QueryBuilders.rangeQuery("year").gte(1965).lt(1970))
            .mustNot(QueryBuilders.termQuery("tags", "zone")).should(QueryBuilders.termsQuery("tags", "magic", "robot"));
        search("bool", source().query(bool).fetchSource(new String[] {"title", "year"}, null));
        search("of a page", source().query(QueryBuilders.existsQuery("author")).sort("author", SortOrder.DESC).sort("year").from(1).size(2).fetchSource(false));
        search("after a hit", source().query(QueryBuilders.existsQuery("author")).sort("year").searchAfter(new Object[] {1965}).size(2));
        search("nested", source().version(true).sort("year").query(QueryBuilders.nestedQuery("reviews", QueryBuilders.rangeQuery("reviews.stars").gte(4),
            org.apache.lucene.search.join.ScoreMode.Avg).innerHit(new InnerHitBuilder().addSort(SortBuilders.fieldSort("reviews.stars")))));
        search("collapsed", source().query(QueryBuilders.existsQuery("author")).sort("year").collapse(new CollapseBuilder("author")
            .setInnerHits(new InnerHitBuilder("oldest").setSize(1).addSort(SortBuilders.fieldSort("year")))));
        search("by its id", source().query(QueryBuilders.idsQuery().addIds("1", "4")).sort("year"));
        search("by a phrase and a prefix", source().query(QueryBuilders.disMaxQuery().add(QueryBuilders.matchPhraseQuery("title", "left hand")).add(QueryBuilders.prefixQuery("title.raw", "Road")))
            .sort("year"));
        search("by a string", source().query(QueryBuilders.queryStringQuery("author:lem OR title:wizard").defaultField("title")).sort("year"));
        search("like another", source().query(QueryBuilders.moreLikeThisQuery(new String[] {"tags"}, new String[] {"magic"}, null).minTermFreq(1).minDocFreq(1)).sort("year"));
        search("near a place", source().query(QueryBuilders.geoDistanceQuery("place").point(45.5, -122.5).distance("10km"))
            .sort(SortBuilders.geoDistanceSort("place", 45.5, -122.5)).sort("year").fetchSource("title", null));
        search("scored", source().query(QueryBuilders.functionScoreQuery(QueryBuilders.existsQuery("author"))).sort("_score").sort("year").trackScores(true));
        search("doc values", source().query(QueryBuilders.termQuery("author", "lem")).docValueField("year").docValueField("published", "yyyy/MM").fetchSource(false).sort("year"));
        search("with aggregations", source().size(0)
            .aggregation(AggregationBuilders.terms("authors").field("author").order(BucketOrder.key(true))
                .subAggregation(AggregationBuilders.stats("prices").field("price"))
                .subAggregation(AggregationBuilders.topHits("best").size(1).sort("year", SortOrder.DESC).fetchSource("title", null)))
            .aggregation(AggregationBuilders.histogram("decades").field("year").interval(10).minDocCount(1))
            .aggregation(AggregationBuilders.dateHistogram("years").field("published").dateHistogramInterval(DateHistogramInterval.YEAR).format("yyyy").minDocCount(1))
            .aggregation(AggregationBuilders.cardinality("tags").field("tags"))
            .aggregation(AggregationBuilders.filter("cheap", QueryBuilders.rangeQuery("price").lt(7)).subAggregation(AggregationBuilders.count("n").field("price")))
            .aggregation(AggregationBuilders.nested("reviews", "reviews").subAggregation(AggregationBuilders.avg("stars").field("reviews.stars"))
                .subAggregation(AggregationBuilders.terms("by").field("reviews.by").size(2).order(BucketOrder.key(true))))
            .aggregation(AggregationBuilders.percentiles("percentiles").field("price").percentiles(50))
            .aggregation(AggregationBuilders.range("ranges").field("price").addUnboundedTo(7).addUnboundedFrom("dear", 7))
            .aggregation(AggregationBuilders.extendedStats("spread").field("price"))
            .aggregation(AggregationBuilders.missing("coverless").field("cover"))
            .aggregation(AggregationBuilders.max("empty").field("unknown")));
        search("with suggestions", source().size(0).suggest(new SuggestBuilder().addSuggestion("names", SuggestBuilders.completionSuggestion("suggest").prefix("sol"))));
        step("search for a spelling", () -> {
            List<Object> found = new ArrayList<>();
            client.search(new SearchRequest(new String[] {books}, source().size(0).suggest(new SuggestBuilder().addSuggestion("spelling",
                SuggestBuilders.termSuggestion("title").text("darknes")))), DEFAULT).getSuggest().getSuggestion("spelling").getEntries()
                .forEach(e -> e.getOptions().forEach(o -> found.add(o.getText().string())));
            return found;
        });
        fails("search sorted by a text", () -> client.search(new SearchRequest(new String[] {books}, source().sort("title")), DEFAULT));
        fails("search with a wrong regular expression", () -> client.search(new SearchRequest(new String[] {books}, source().query(QueryBuilders.queryStringQuery("title:("))), DEFAULT));
        fails("search in a missing index", () -> client.search(new SearchRequest(films), DEFAULT));
        step("search through the alias", () -> client.search(new SearchRequest(name("library")).source(source().size(0)), DEFAULT));
        step("count", () -> {
            CountResponse r = client.count(new CountRequest(new String[] {books}, source().query(QueryBuilders.termQuery("author", "lem"))), DEFAULT);
            return Steps.map("count", r.getCount(), "failed", r.getFailedShards(), "status", r.status());
        });
        step("explain", () -> client.explain(new ExplainRequest(books, TYPE, "1").query(QueryBuilders.termQuery("author", "le guin")), DEFAULT).isMatch());
        step("validate a query", () -> client.indices().validateQuery(new ValidateQueryRequest(books).query(QueryBuilders.termQuery("author", "lem")), DEFAULT).isValid());
        step("field capabilities", () -> client.fieldCaps(new FieldCapabilitiesRequest().indices(books).fields("title", "year", "author"), DEFAULT));
        step("several searches", () -> {
            List<Object> found = new ArrayList<>();
            client.msearch(new MultiSearchRequest()
                .add(new SearchRequest(new String[] {books}, source().query(QueryBuilders.termQuery("author", "lem")).sort("year")).types(TYPE))
                .add(new SearchRequest(films)), DEFAULT).forEach(i -> found.add(i.isFailure() ? describe(i.getFailure()) : i.getResponse()));
            return found;
        });
        step("term vectors", () -> {
            var r = client.termvectors(new org.elasticsearch.client.core.TermVectorsRequest(books, TYPE, "3"), DEFAULT);
            return Steps.map("found", r.getFound(), "id", r.getId(), "type", r.getType(), "version", r.getDocVersion());
        });

        step("bulk processor", this::bulkProcessor);
        step("scroll", this::scroll);
        fails("scroll with a scroll that is gone", () -> client.scroll(new SearchScrollRequest("DXF1ZXJ5QW5kRmV0Y2gBAAAAAAAAAAEWa2l0dGVu").scroll(TimeValue.timeValueMinutes(1)), DEFAULT));
        step("delete by query", () -> client.deleteByQuery((DeleteByQueryRequest) new DeleteByQueryRequest(events).setQuery(QueryBuilders.rangeQuery("number").lt(100)).setRefresh(true)
            .setBatchSize(50), DEFAULT));
        step("update by query", () -> client.updateByQuery((UpdateByQueryRequest) new UpdateByQueryRequest(events).setQuery(QueryBuilders.rangeQuery("number").lt(150)).setRefresh(true),
            DEFAULT));
        step("reindex", () -> client.reindex((ReindexRequest) new ReindexRequest().setSourceIndices(events).setSourceQuery(QueryBuilders.termQuery("word", "amber"))
            .setDestIndex(name("ambers")).setRefresh(true), DEFAULT));

        step("move an alias", () -> client.indices().updateAliases(new IndicesAliasesRequest()
            .addAliasAction(AliasActions.remove().index(books).alias(name("library")))
            .addAliasAction(AliasActions.add().index(books).alias(name("lem")).filter(QueryBuilders.termQuery("author", "lem")))
            .addAliasAction(AliasActions.add().index(events).alias(name("log")).routing("1")), DEFAULT));
        step("read the aliases", () -> client.indices().getAlias(new GetAliasesRequest().indices(books, events), DEFAULT));
        step("read a missing alias", () -> client.indices().getAlias(new GetAliasesRequest(name("nobody")), DEFAULT).status());
        step("an alias exists", () -> client.indices().existsAlias(new GetAliasesRequest(name("lem")), DEFAULT));
        step("search through the filter", () -> client.search(new SearchRequest(name("lem")).source(source().sort("year").fetchSource("title", null)), DEFAULT));
        step("put a template", () -> client.indices().putTemplate(new PutIndexTemplateRequest(name("logs")).patterns(List.of(name("logs-*"))).order(2)
            .settings("{\"number_of_shards\": 1}", XContentType.JSON).mapping("line", "{\"properties\": {\"level\": {\"type\": \"keyword\"}}}", XContentType.JSON)
            .alias(new Alias(name("all-logs"))), DEFAULT));
        step("read the template", () -> {
            IndexTemplateMetaData t = client.indices().getIndexTemplate(new GetIndexTemplatesRequest(name("logs")), DEFAULT).getIndexTemplates().get(0);
            return Steps.map("name", t.name(), "order", t.order(), "patterns", t.patterns(), "mappings", t.mappings(), "shards", t.settings().get("index.number_of_shards"),
                "alias", t.aliases().keysIt().next());
        });
        step("read the template with its type", () -> client.indices().getTemplate(new GetIndexTemplatesRequest(name("logs")), DEFAULT).getIndexTemplates().get(0).mappings()
            .keysIt().next());
        step("the template exists", () -> client.indices().existsTemplate(new IndexTemplatesExistRequest(name("logs")), DEFAULT));
        step("an index by the template", () -> client.index(new IndexRequest(name("logs-1"), "line", "1").source(Map.of("level", "warn")).setRefreshPolicy(RefreshPolicy.IMMEDIATE), DEFAULT));
        step("search its alias", () -> client.search(new SearchRequest(name("all-logs")).types("line").source(source().query(QueryBuilders.termQuery("level", "warn"))), DEFAULT));
        step("delete the template", () -> client.indices().deleteTemplate(new DeleteIndexTemplateRequest(name("logs")), DEFAULT));
        fails("read the missing template", () -> client.indices().getIndexTemplate(new GetIndexTemplatesRequest(name("logs")), DEFAULT));
        step("put a pipeline", () -> client.ingest().putPipeline(new PutPipelineRequest(name("nothing"), new BytesArray("{\"description\": \"does nothing\", \"processors\": []}"),
            XContentType.JSON), DEFAULT));
        step("read the pipeline", () -> client.ingest().getPipeline(new GetPipelineRequest(name("nothing")), DEFAULT));
        step("index through the pipeline", () -> client.index(new IndexRequest(name("logs-1"), "line", "2").source(Map.of("level", "info")).setPipeline(name("nothing")), DEFAULT));
        step("delete the pipeline", () -> client.ingest().deletePipeline(new DeletePipelineRequest(name("nothing")), DEFAULT));

        step("refresh", () -> client.indices().refresh(new RefreshRequest(books), DEFAULT).getStatus());
        step("flush", () -> client.indices().flush(new FlushRequest(books), DEFAULT).getFailedShards());
        step("merge", () -> client.indices().forcemerge(new ForceMergeRequest(books).maxNumSegments(1), DEFAULT).getFailedShards());
        step("clear the cache", () -> client.indices().clearCache(new ClearIndicesCacheRequest(books), DEFAULT).getFailedShards());
        step("a transient setting", () -> client.cluster().putSettings(new ClusterUpdateSettingsRequest().transientSettings(Map.of("cluster.routing.allocation.enable", "all")), DEFAULT));
        step("take it back", () -> client.cluster().putSettings(new ClusterUpdateSettingsRequest().transientSettings("{\"cluster.routing.allocation.enable\": null}", XContentType.JSON), DEFAULT));
        step("close", () -> client.indices().close(new CloseIndexRequest(books), DEFAULT));
        fails("search in the closed index", () -> client.search(new SearchRequest(books), DEFAULT));
        step("open", () -> client.indices().open(new OpenIndexRequest(books), DEFAULT));
        fails("a request of the low-level client that fails", () -> client.getLowLevelClient().performRequest(new Request("GET", "/" + films + "/_search")));
        step("sniff", () -> {
            List<Object> hosts = new ArrayList<>();
            new ElasticsearchNodesSniffer(client.getLowLevelClient(), 5000, ElasticsearchNodesSniffer.Scheme.HTTP).sniff()
                .forEach(n -> hosts.add(Steps.map("host", n.getHost().toHostString(), "master", n.getRoles().isMasterEligible(), "data", n.getRoles().isData(),
                    "ingest", n.getRoles().isIngest(), "version", n.getVersion())));
            return hosts;
        });
        fails("delete a missing index", () -> client.indices().delete(new DeleteIndexRequest(films), DEFAULT));
        step("delete the copies", () -> client.indices().delete(new DeleteIndexRequest(name("ambers")), DEFAULT));
        step("delete the indices", () -> client.indices().delete(new DeleteIndexRequest(books, events, name("logs-1")), DEFAULT));
    }

    /** What an application sees of a bulk request. */
    static Object bulk(BulkResponse r) {
        List<Object> items = new ArrayList<>();
        for (BulkItemResponse i : r.getItems()) {
            items.add(i.isFailed()
                ? Steps.map("op", i.getOpType().getLowercase(), "id", i.getId(), "type", i.getType(), "index", i.getIndex(), "status", i.getFailure().getStatus(),
                    "cause", describe(i.getFailure().getCause()))
                : i.getResponse());
        }
        return Steps.map("failures", r.hasFailures(), "status", r.status(), "items", items);
    }

    Object bulkProcessor() throws Exception {
        AtomicInteger requests = new AtomicInteger(), good = new AtomicInteger(), bad = new AtomicInteger();
        BulkProcessor processor = BulkProcessor.builder((r, l) -> client.bulkAsync(r, DEFAULT, l), new BulkProcessor.Listener() {
            @Override
            public void beforeBulk(long id, BulkRequest r) {
                requests.incrementAndGet();
            }

            @Override
            public void afterBulk(long id, BulkRequest r, BulkResponse a) {
                for (BulkItemResponse i : a) {
                    (i.isFailed() ? bad : good).incrementAndGet();
                }
            }

            @Override
            public void afterBulk(long id, BulkRequest r, Throwable e) {
                bad.addAndGet(100000);
            }
        }).setBulkActions(300).setConcurrentRequests(1).setGlobalIndex(name("events")).setGlobalType("_doc").build();
        for (int n = 0; n < 1200; n++) {
            processor.add(new IndexRequest().id(String.valueOf(n)).source(Steps.event(n)));
        }
        processor.add(new IndexRequest().id("bad").source(Map.of("at", "never")));
        boolean ended = processor.awaitClose(30, TimeUnit.SECONDS);
        client.indices().refresh(new RefreshRequest(name("events")), DEFAULT);
        return Steps.map("ended", ended, "requests", requests.get(), "good", good.get(), "bad", bad.get());
    }

    Object scroll() throws Exception {
        Set<String> seen = new HashSet<>();
        List<Object> pages = new ArrayList<>();
        SearchResponse page = client.search(new SearchRequest(name("events")).scroll(TimeValue.timeValueMinutes(1))
            .source(source().size(500).query(QueryBuilders.rangeQuery("number").gte(10)).sort("number")), DEFAULT);
        while (page.getHits().getHits().length > 0) {
            page.getHits().forEach(h -> seen.add(h.getId()));
            pages.add(Steps.map("total", page.getHits().getTotalHits(), "first", page.getHits().getAt(0), "status", page.status()));
            page = client.scroll(new SearchScrollRequest(page.getScrollId()).scroll(TimeValue.timeValueMinutes(1)), DEFAULT);
        }
        ClearScrollRequest clear = new ClearScrollRequest();
        clear.addScrollId(page.getScrollId());
        return Steps.map("seen", seen.size(), "pages", pages, "cleared", client.clearScroll(clear, DEFAULT).isSucceeded());
    }
}
