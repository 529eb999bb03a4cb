import java.io.StringReader;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicInteger;

import co.elastic.clients.elasticsearch.ElasticsearchClient;
import co.elastic.clients.elasticsearch._helpers.bulk.BulkIngester;
import co.elastic.clients.elasticsearch._helpers.bulk.BulkListener;
import co.elastic.clients.elasticsearch._types.ElasticsearchException;
import co.elastic.clients.elasticsearch._types.FieldValue;
import co.elastic.clients.elasticsearch._types.HealthStatus;
import co.elastic.clients.elasticsearch._types.Level;
import co.elastic.clients.elasticsearch._types.Refresh;
import co.elastic.clients.elasticsearch._types.SortOrder;
import co.elastic.clients.elasticsearch._types.VersionType;
import co.elastic.clients.elasticsearch._types.WaitForActiveShards;
import co.elastic.clients.elasticsearch._types.aggregations.Aggregate;
import co.elastic.clients.elasticsearch.core.BulkRequest;
import co.elastic.clients.elasticsearch.core.BulkResponse;
import co.elastic.clients.elasticsearch.core.GetResponse;
import co.elastic.clients.elasticsearch.core.IndexResponse;
import co.elastic.clients.elasticsearch.core.MsearchResponse;
import co.elastic.clients.elasticsearch.core.OpenPointInTimeResponse;
import co.elastic.clients.elasticsearch.core.ScrollResponse;
import co.elastic.clients.elasticsearch.core.SearchResponse;
import co.elastic.clients.elasticsearch.core.bulk.BulkResponseItem;
import co.elastic.clients.elasticsearch.core.search.Hit;
import co.elastic.clients.json.JsonData;
import co.elastic.clients.json.JsonpMapper;
import co.elastic.clients.json.JsonpSerializable;
import co.elastic.clients.json.jackson.JacksonJsonpMapper;
import co.elastic.clients.transport.endpoints.BooleanResponse;
import co.elastic.clients.transport.rest_client.RestClientTransport;
import jakarta.json.stream.JsonGenerator;
import org.apache.http.HttpHost;
import org.elasticsearch.client.Request;
import org.elasticsearch.client.ResponseException;
import org.elasticsearch.client.RestClient;
import org.elasticsearch.client.sniff.ElasticsearchNodesSniffer;

/** The Java API client of 8.x as an application uses it: Day url prefix. It insists on what is required in answers. */
public class Day {
    @SuppressWarnings("rawtypes")
    static final Class<Map> DOCUMENT = Map.class;

    static final JsonpMapper MAPPER = new JacksonJsonpMapper();

    public static void main(String[] args) throws Exception {
        try (RestClient low = RestClient.builder(HttpHost.create(args[0])).build(); RestClientTransport transport = new RestClientTransport(low, MAPPER)) {
            new Day(new ElasticsearchClient(transport), low, args[1]).run();
        }
    }

    final ElasticsearchClient client;
    final RestClient low;
    final String prefix;
    final Steps steps = new Steps(Day::printable, Day::describe);

    Day(ElasticsearchClient client, RestClient low, String prefix) {
        this.client = client;
        this.low = low;
        this.prefix = prefix;
    }

    /** Answers print what has been parsed of them. */
    static Object printable(Object value) {
        if (value instanceof BooleanResponse) {
            return ((BooleanResponse) value).value();
        }
        if (!(value instanceof JsonpSerializable)) {
            return value;
        }
        StringWriter text = new StringWriter();
        try (JsonGenerator g = MAPPER.jsonProvider().createGenerator(text)) {
            ((JsonpSerializable) value).serialize(g, MAPPER);
        }
        return new Steps.Raw(text.toString());
    }

    static Map<String, Object> describe(Throwable e) {
        if (e instanceof ElasticsearchException) {
            var error = ((ElasticsearchException) e).error();
            return Steps.map("status", ((ElasticsearchException) e).status(), "type", error.type(), "causes", error.rootCause().stream().map(c -> c.type()).toList(), "index",
                error.metadata().containsKey("index") ? error.metadata().get("index").to(String.class) : null, "reason", error.reason());
        }
        if (e instanceof ResponseException) {
            return Steps.map("class", e.getClass().getSimpleName(), "status", ((ResponseException) e).getResponse().getStatusLine().getStatusCode());
        }
        return null;
    }

    String name(String n) {
        return prefix + n;
    }

    static StringReader json(String text) {
        return new StringReader(text.replace('\'', '"'));
    }

    void step(String name, Callable<Object> run) {
        steps.step(name, run);
    }

    void fails(String name, Callable<Object> run) {
        steps.fails(name, run);
    }

    void search(String what, String body) {
        step("search " + what, () -> client.search(r -> r.index(name("books")).withJson(json(body)), DOCUMENT));
    }

    void run() throws Exception {
        String books = name("books"), events = name("events"), films = name("films");
        step("ping", () -> client.ping());
        step("info", () -> client.info());
        step("create an index", () -> client.indices().create(r -> r.index(books).settings(s -> s.withJson(json(Steps.SETTINGS))).mappings(m -> m.withJson(json(Steps.MAPPING)))
            .aliases(name("library"), a -> a)));
        step("create another index", () -> client.indices().create(r -> r.index(events).settings(s -> s.numberOfShards("2").numberOfReplicas("0"))
            .mappings(m -> m.properties("word", p -> p.keyword(k -> k)).properties("at", p -> p.date(d -> d))).waitForActiveShards(WaitForActiveShards.of(w -> w.count(1)))));
        step("health", () -> client.cluster().health(r -> r.index(books).waitForStatus(HealthStatus.Yellow).level(Level.Indices)).indices());
        fails("create it again", () -> client.indices().create(r -> r.index(books)));
        fails("create one with a wrong mapping", () -> client.indices().create(r -> r.index(name("wrong")).mappings(m -> m.properties("a", p -> p.text(t -> t.analyzer("nonsense"))))));
        step("index exists", () -> client.indices().exists(r -> r.index(books)));
        step("index does not exist", () -> client.indices().exists(r -> r.index(films)));
        step("get the index", () -> {
            var state = client.indices().get(r -> r.index(books)).get(books);
            return Steps.map("mappings", state.mappings(), "aliases", state.aliases(), "shards", state.settings().index().numberOfShards(), "analysis", state.settings().index().analysis());
        });
        step("get the mapping", () -> client.indices().getMapping(r -> r.index(books)).get(books).mappings());
        step("get the mapping of a field", () -> client.indices().getFieldMapping(r -> r.index(books).fields("title", "author")).get(books));
        step("get the settings", () -> client.indices().getSettings(r -> r.index(books)).get(books).settings().index().analysis());
        step("put a mapping", () -> client.indices().putMapping(r -> r.index(books).properties("isbn", p -> p.keyword(k -> k)).properties("pages", p -> p.long_(k -> k))));
        fails("put a conflicting mapping", () -> client.indices().putMapping(r -> r.index(books).properties("isbn", p -> p.long_(k -> k))));
        step("put a setting", () -> client.indices().putSettings(r -> r.index(books).settings(s -> s.refreshInterval(t -> t.time("5s")))));
        step("analyze", () -> client.indices().analyze(r -> r.index(books).analyzer("titles").text("The Name of the Rose")));

        step("index", () -> client.index(r -> r.index(books).id("1").document(Steps.SHELF.get(0))));
        step("index again", () -> client.index(r -> r.index(books).id("1").document(Steps.SHELF.get(0))));
        step("create", () -> client.create(r -> r.index(books).id("2").document(Steps.SHELF.get(1)).refresh(Refresh.WaitFor)));
        fails("create what exists", () -> client.create(r -> r.index(books).id("2").document(Steps.SHELF.get(1))));
        step("index with a routing", () -> client.index(r -> r.index(books).id("r").routing("poland").document(Map.of("title", "Fiasco")).refresh(Refresh.True)));
        step("index without an id", () -> {
            IndexResponse made = client.index(r -> r.index(events).document(Map.of("word", "amber", "number", -1)));
            return Steps.map("length", made.id().length(), "result", made.result(), "deleted", client.delete(r -> r.index(events).id(made.id())).result());
        });
        fails("index malformed", () -> client.index(r -> r.index(books).id("m").document(Map.of("year", "none"))));
        step("index with an external version", () -> client.index(r -> r.index(books).id("x").version(40L).versionType(VersionType.External).document(Map.of("title", "External"))));
        fails("index with an older external version", () -> client.index(r -> r.index(books).id("x").version(39L).versionType(VersionType.External).document(Map.of("title", "External"))));
        step("index if nobody has changed it", () -> {
            @SuppressWarnings("rawtypes")
            GetResponse<Map> found = client.get(r -> r.index(books).id("1"), DOCUMENT);
            return client.index(r -> r.index(books).id("1").ifSeqNo(found.seqNo()).ifPrimaryTerm(found.primaryTerm()).document(Steps.SHELF.get(0)));
        });
        fails("index though somebody has changed it", () -> client.index(r -> r.index(books).id("1").ifSeqNo(4711L).ifPrimaryTerm(1L).document(Steps.SHELF.get(0))));
        step("get", () -> client.get(r -> r.index(books).id("1"), DOCUMENT));
        step("get some of it", () -> client.get(r -> r.index(books).id("1").sourceIncludes("title", "reviews.by"), DOCUMENT));
        step("get with a routing", () -> client.get(r -> r.index(books).id("r").routing("poland"), DOCUMENT));
        step("get what is missing", () -> client.get(r -> r.index(books).id("99"), DOCUMENT));
        fails("get from a missing index", () -> client.get(r -> r.index(films).id("1"), DOCUMENT));
        step("get the source", () -> client.getSource(r -> r.index(books).id("1"), DOCUMENT).valueBody());
        step("exists", () -> client.exists(r -> r.index(books).id("1")));
        step("does not exist", () -> client.exists(r -> r.index(books).id("99")));
        step("update", () -> client.update(r -> r.index(books).id("1").doc(Map.of("pages", 304)).retryOnConflict(2).source(s -> s.fetch(true)), DOCUMENT));
        step("update that changes nothing", () -> client.update(r -> r.index(books).id("1").doc(Map.of("pages", 304)), DOCUMENT));
        fails("update what is missing", () -> client.update(r -> r.index(books).id("99").doc(Map.of("pages", 1)), DOCUMENT));
        step("upsert", () -> client.update(r -> r.index(books).id("u").doc(Map.of("pages", 2)).upsert(Map.of("title", "Upserted")), DOCUMENT));
        step("upsert by the document", () -> client.update(r -> r.index(books).id("v").doc(Map.of("title", "Upserted too")).docAsUpsert(true), DOCUMENT));
        step("delete", () -> client.delete(r -> r.index(books).id("v")));
        step("delete what is missing", () -> client.delete(r -> r.index(books).id("v")));

        step("bulk with mixed results", () -> bulk(client.bulk(r -> {
            r.refresh(Refresh.True).index(books);
            for (int n = 0; n < Steps.SHELF.size(); n++) {
                String id = String.valueOf(n + 1);
                Object document = Steps.SHELF.get(n);
                r.operations(o -> id.equals("2") ? o.create(c -> c.id(id).document(document)) : o.index(i -> i.id(id).document(document)));
            }
            return r.operations(o -> o.index(i -> i.id("6").document(Map.of("year", "none"))))
                .operations(o -> o.update(u -> u.id("3").action(a -> a.doc(Map.of("pages", 204)))))
                .operations(o -> o.update(u -> u.id("98").action(a -> a.doc(Map.of("pages", 204)))))
                .operations(o -> o.delete(d -> d.id("u"))).operations(o -> o.delete(d -> d.id("x"))).operations(o -> o.delete(d -> d.id("r").routing("poland")))
                .operations(o -> o.delete(d -> d.id("97")));
        })));
        step("read many", () -> client.mget(r -> r.docs(d -> d.index(books).id("1").source(s -> s.filter(f -> f.includes("title")))).docs(d -> d.index(books).id("99"))
            .docs(d -> d.index(films).id("1")), DOCUMENT));
        step("read many of one index", () -> client.mget(r -> r.index(books).ids("1", "3"), DOCUMENT));

        step("search everything", () -> client.search(r -> r.index(books).query(q -> q.matchAll(m -> m)).sort(s -> s.field(f -> f.field("year").order(SortOrder.Asc)))
            .trackTotalHits(t -> t.enabled(true)).version(true).seqNoPrimaryTerm(true), DOCUMENT));
        step("search counted up to two", () -> client.search(r -> r.index(books).size(0).trackTotalHits(t -> t.count(2)), DOCUMENT));
        step("search not counted", () -> client.search(r -> r.index(books).size(0).trackTotalHits(t -> t.enabled(false)), DOCUMENT));
        search("match with a highlight", "{'query': {'match': {'title': 'darkness'}}, 'highlight': {'fields': {'title': {}}}}");
        search("bool", "{'query': {'bool': {'must': [{'match': {'author': 'lem'}}], 'filter': [{'range': {'year': {'gte': 1965, 'lt': 1970}}}], 'must_not': [{'term': {'tags': 'zone'}}],"
            + "'should': [{'terms': {'tags': ['magic', 'robot']}}]}}, '_source': {'includes': ['title', 'year']}}");
        search("of a page", "{'query': {'exists': {'field': 'author'}}, 'sort': [{'author': 'desc'}, 'year'], 'from': 1, 'size': 2, '_source': false}");
        search("after a hit", "{'query': {'exists': {'field': 'author'}}, 'sort': ['year'], 'search_after': [1965], 'size': 2}");
        search("nested", "{'query': {'nested': {'path': 'reviews', 'query': {'range': {'reviews.stars': {'gte': 4}}}, 'inner_hits': {'sort': ['reviews.stars']}}}, 'sort': ['year']}");
        search("collapsed", "{'query': {'exists': {'field': 'author'}}, 'sort': ['year'], 'collapse': {'field': 'author', 'inner_hits': {'name': 'oldest', 'size': 1, 'sort': ['year']}}}");
        search("by its id", "{'query': {'ids': {'values': ['1', '4']}}, 'sort': ['year']}");
        search("by a string", "{'query': {'query_string': {'query': 'author:lem OR title:wizard', 'default_field': 'title'}}, 'sort': ['year']}");
        search("near a place", "{'query': {'geo_distance': {'distance': '10km', 'place': {'lat': 45.5, 'lon': -122.5}}}, 'sort': [{'_geo_distance': {'place': [{'lat': 45.5, 'lon': -122.5}]}}, 'year'], '_source': {'includes': ['title']}}");
        search("doc values", "{'query': {'term': {'author': 'lem'}}, 'docvalue_fields': ['year', {'field': 'published', 'format': 'yyyy/MM'}], '_source': false, 'sort': ['year']}");
        search("fields", "{'query': {'term': {'author': 'lem'}}, 'fields': ['title', 'published'], '_source': false, 'sort': ['year']}");
        search("with aggregations", "{'size': 0, 'aggs': {"
            + "'authors': {'terms': {'field': 'author', 'order': {'_key': 'asc'}}, 'aggs': {'prices': {'stats': {'field': 'price'}}, 'best': {'top_hits': {'size': 1, 'sort': [{'year': 'desc'}]}}}},"
            + "'decades': {'histogram': {'field': 'year', 'interval': 10, 'min_doc_count': 1}},"
            + "'years': {'date_histogram': {'field': 'published', 'calendar_interval': 'year', 'format': 'yyyy', 'min_doc_count': 1}},"
            + "'numbers': {'terms': {'field': 'year', 'order': {'_key': 'asc'}, 'size': 2}},"
            + "'tags': {'cardinality': {'field': 'tags'}}, 'cheap': {'filter': {'range': {'price': {'lt': 7}}}, 'aggs': {'n': {'value_count': {'field': 'price'}}}},"
            + "'reviews': {'nested': {'path': 'reviews'}, 'aggs': {'stars': {'avg': {'field': 'reviews.stars'}}}},"
            + "'ranges': {'range': {'field': 'price', 'ranges': [{'to': 7}, {'from': 7, 'key': 'dear'}]}}, 'spread': {'extended_stats': {'field': 'price'}},"
            + "'percentiles': {'percentiles': {'field': 'price', 'percents': [50]}}, 'empty': {'max': {'field': 'unknown'}}}}");
        step("search with a typed aggregation", () -> {
            Aggregate a = client.search(r -> r.index(books).size(0).aggregations("authors", g -> g.terms(t -> t.field("author"))), DOCUMENT).aggregations().get("authors");
            List<Object> buckets = new ArrayList<>();
            a.sterms().buckets().array().forEach(b -> buckets.add(Steps.map("key", b.key().stringValue(), "count", b.docCount())));
            return buckets;
        });
        search("with suggestions", "{'size': 0, 'suggest': {'names': {'prefix': 'sol', 'completion': {'field': 'suggest'}}}}");
        step("search for a spelling", () -> {
            List<Object> found = new ArrayList<>();
            client.search(r -> r.index(books).size(0).suggest(s -> s.suggesters("spelling", f -> f.text("darknes").term(t -> t.field("title")))), DOCUMENT).suggest().get("spelling")
                .forEach(s -> s.term().options().forEach(o -> found.add(o.text())));
            return found;
        });
        fails("search sorted by a text", () -> client.search(r -> r.index(books).sort(s -> s.field(f -> f.field("title"))), DOCUMENT));
        fails("search in a missing index", () -> client.search(r -> r.index(films), DOCUMENT));
        step("search in a missing index, allowed", () -> client.search(r -> r.index(films, books).ignoreUnavailable(true).size(0), DOCUMENT));
        step("count", () -> client.count(r -> r.index(books).query(q -> q.term(t -> t.field("author").value("lem")))));
        step("explain", () -> client.explain(r -> r.index(books).id("1").query(q -> q.term(t -> t.field("author").value(FieldValue.of("le guin")))), DOCUMENT).matched());
        step("validate a query", () -> client.indices().validateQuery(r -> r.index(books).query(q -> q.term(t -> t.field("author").value("lem")))));
        step("field capabilities", () -> client.fieldCaps(r -> r.index(books).fields("title", "year", "author")));
        step("several searches", () -> {
            @SuppressWarnings("rawtypes")
            MsearchResponse<Map> found = client.msearch(r -> r
                .searches(s -> s.header(h -> h.index(books)).body(b -> b.query(q -> q.term(t -> t.field("author").value("lem"))).sort(o -> o.field(f -> f.field("year")))))
                .searches(s -> s.header(h -> h.index(films)).body(b -> b.query(q -> q.matchAll(m -> m)))), DOCUMENT);
            List<Object> told = new ArrayList<>();
            found.responses().forEach(i -> told.add(i.isFailure() ? Steps.map("status", i.failure().status(), "type", i.failure().error().type()) : i.result()));
            return told;
        });
        step("term vectors", () -> client.termvectors(r -> r.index(books).id("3").fields("title")).termVectors().get("title").terms().keySet());

        step("bulk ingester", this::bulkIngester);
        step("scroll", this::scroll);

        step("move an alias", () -> client.indices().updateAliases(r -> r.actions(a -> a.remove(x -> x.index(books).alias(name("library"))))
            .actions(a -> a.add(x -> x.index(books).alias(name("lem")).filter(q -> q.term(t -> t.field("author").value("lem")))))
            .actions(a -> a.add(x -> x.index(events).alias(name("log")).routing("1").isWriteIndex(true)))));
        step("read the aliases", () -> Steps.map("books", client.indices().getAlias(r -> r.index(books)).get(books), "events", client.indices().getAlias(r -> r.index(events)).get(events)));
        fails("read a missing alias", () -> client.indices().getAlias(r -> r.name(name("nobody"))).result());
        step("an alias exists", () -> client.indices().existsAlias(r -> r.name(name("lem"))));
        step("search through the filter", () -> client.search(r -> r.index(name("lem")).sort(s -> s.field(f -> f.field("year"))).source(s -> s.filter(f -> f.includes("title"))), DOCUMENT));
        step("put a template", () -> client.indices().putTemplate(r -> r.name(name("logs")).indexPatterns(name("logs-*")).order(2).settings(s -> s.numberOfShards("1"))
            .mappings(m -> m.properties("level", p -> p.keyword(k -> k))).aliases(name("all-logs"), a -> a)));
        step("read the template", () -> client.indices().getTemplate(r -> r.name(name("logs"))).get(name("logs")));
        step("the template exists", () -> client.indices().existsTemplate(r -> r.name(name("logs"))));
        step("an index by the template", () -> client.index(r -> r.index(name("logs-1")).id("1").document(Map.of("level", "warn")).refresh(Refresh.True)));
        step("search its alias", () -> client.search(r -> r.index(name("all-logs")).query(q -> q.term(t -> t.field("level").value("warn"))), DOCUMENT));
        step("delete the template", () -> client.indices().deleteTemplate(r -> r.name(name("logs"))));
        step("put a composable template", () -> client.indices().putIndexTemplate(r -> r.name(name("traces")).indexPatterns(name("traces-*")).priority(700L)
            .template(t -> t.settings(s -> s.numberOfShards("1")).mappings(m -> m.properties("span", p -> p.keyword(k -> k))))));
        step("read the composable template", () -> client.indices().getIndexTemplate(r -> r.name(name("traces"))));
        step("the composable template exists", () -> client.indices().existsIndexTemplate(r -> r.name(name("traces"))));
        step("an index by the composable template", () -> client.index(r -> r.index(name("traces-1")).id("1").document(Map.of("span", "a"))));
        step("its mapping", () -> client.indices().getMapping(r -> r.index(name("traces-1"))).get(name("traces-1")));
        step("delete the composable template", () -> client.indices().deleteIndexTemplate(r -> r.name(name("traces"))));
        fails("read the missing composable template", () -> client.indices().getIndexTemplate(r -> r.name(name("traces"))));
        step("put a pipeline", () -> client.ingest().putPipeline(r -> r.id(name("nothing")).withJson(json("{'description': 'does nothing', 'processors': []}"))));
        step("read the pipeline", () -> client.ingest().getPipeline(r -> r.id(name("nothing"))).get(name("nothing")));
        step("index through the pipeline", () -> client.index(r -> r.index(name("logs-1")).id("2").document(Map.of("level", "info")).pipeline(name("nothing"))));
        step("delete the pipeline", () -> client.ingest().deletePipeline(r -> r.id(name("nothing"))));
        step("search in a point in time", () -> {
            OpenPointInTimeResponse opened = client.openPointInTime(r -> r.index(books).keepAlive(t -> t.time("1m")));
            @SuppressWarnings("rawtypes")
            SearchResponse<Map> found = client.search(r -> r.pit(p -> p.id(opened.id()).keepAlive(t -> t.time("1m"))).size(2).query(q -> q.exists(e -> e.field("author")))
                .sort(s -> s.field(f -> f.field("year"))), DOCUMENT);
            return Steps.map("ids", found.hits().hits().stream().map(Hit::id).toList(), "closed", client.closePointInTime(r -> r.id(found.pitId())).succeeded());
        });

        step("refresh", () -> client.indices().refresh(r -> r.index(books)).shards().failed());
        step("flush", () -> client.indices().flush(r -> r.index(books)).shards().failed());
        step("merge", () -> client.indices().forcemerge(r -> r.index(books).maxNumSegments(1L)).shards().failed());
        step("statistics", () -> client.indices().stats(r -> r.index(books).metric("docs", "store", "refresh")).indices().get(books).primaries().docs().count());
        step("cat indices", () -> client.cat().indices(r -> r.index(books)).valueBody().stream().map(i -> List.of(i.index(), i.health(), i.status(), i.docsCount())).toList());
        step("cat aliases", () -> client.cat().aliases(r -> r.name(name("*"))).valueBody().stream().map(a -> List.of(a.alias(), a.index(), a.filter()).toString()).sorted().toList());
        step("cluster settings", () -> client.cluster().getSettings().persistent().size());
        step("the nodes", () -> client.nodes().info(r -> r.metric("http")).nodes().values().stream().map(n -> n.http().publishAddress()).toList());
        step("close", () -> client.indices().close(r -> r.index(books)));
        fails("search in the closed index", () -> client.search(r -> r.index(books), DOCUMENT));
        step("open", () -> client.indices().open(r -> r.index(books)));
        fails("a request of the low-level client that fails", () -> low.performRequest(new Request("GET", "/" + films + "/_search")));
        step("sniff", () -> {
            List<Object> hosts = new ArrayList<>();
            new ElasticsearchNodesSniffer(low, 5000, ElasticsearchNodesSniffer.Scheme.HTTP).sniff()
                .forEach(n -> hosts.add(Steps.map("host", n.getHost().toHostString(), "data", n.getRoles().isData(), "master", n.getRoles().isMasterEligible(), "version", n.getVersion())));
            return hosts;
        });
        fails("delete a missing index", () -> client.indices().delete(r -> r.index(films)));
        step("delete the indices", () -> client.indices().delete(r -> r.index(books, events, name("logs-1"), name("traces-1"))));
    }

    /** What an application sees of a bulk request. */
    static Object bulk(BulkResponse r) {
        List<Object> items = new ArrayList<>();
        for (BulkResponseItem i : r.items()) {
            items.add(Steps.map("op", i.operationType(), "id", i.id(), "index", i.index(), "status", i.status(), "result", i.result(), "version", i.version(), "error",
                i.error() == null ? null : i.error().type()));
        }
        return Steps.map("errors", r.errors(), "items", items);
    }

    Object bulkIngester() throws Exception {
        AtomicInteger good = new AtomicInteger(), bad = new AtomicInteger();
        BulkListener<Integer> listener = new BulkListener<>() {
            @Override
            public void beforeBulk(long id, BulkRequest r, List<Integer> contexts) {
            }

            @Override
            public void afterBulk(long id, BulkRequest r, List<Integer> contexts, BulkResponse a) {
                a.items().forEach(i -> (i.error() == null ? good : bad).incrementAndGet());
            }

            @Override
            public void afterBulk(long id, BulkRequest r, List<Integer> contexts, Throwable e) {
                bad.addAndGet(100000);
            }
        };
        BulkIngester<Integer> ingester = BulkIngester.of(b -> b.client(client).maxOperations(300).listener(listener).globalSettings(g -> g.index(name("events"))));
        for (int n = 0; n < 1200; n++) {
            String id = String.valueOf(n);
            Object document = Steps.event(n);
            ingester.add(o -> o.index(i -> i.id(id).document(document)), n);
        }
        ingester.add(o -> o.index(i -> i.id("bad").document(Map.of("at", "never"))), -1);
        ingester.close();
        client.indices().refresh(r -> r.index(name("events")));
        return Steps.map("good", good.get(), "bad", bad.get(), "operations", ingester.operationsCount());
    }

    @SuppressWarnings("rawtypes")
    Object scroll() throws Exception {
        Set<String> seen = new HashSet<>();
        SearchResponse<Map> first = client.search(r -> r.index(name("events")).scroll(t -> t.time("1m")).size(500).query(q -> q.range(x -> x.field("number").gte(
            JsonData.of(10)))).sort(s -> s.field(f -> f.field("number"))), DOCUMENT);
        first.hits().hits().forEach(h -> seen.add(h.id()));
        String id = first.scrollId();
        while (true) {
            String last = id;
            ScrollResponse<Map> page = client.scroll(r -> r.scrollId(last).scroll(t -> t.time("1m")), DOCUMENT);
            id = page.scrollId();
            if (page.hits().hits().isEmpty()) {
                return Steps.map("seen", seen.size(), "total", page.hits().total(), "first", first.hits().hits().get(0), "cleared", client.clearScroll(r -> r.scrollId(last)).succeeded());
            }
            page.hits().hits().forEach(h -> seen.add(h.id()));
        }
    }
}
