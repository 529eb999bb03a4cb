"""A day's work of an application that is written with elasticsearch-py.

Called with the address of the cluster and a prefix for names; the library that is
installed says which major the application was written for. See ../doc.go.
"""

import json
import sys
from datetime import datetime

import elasticsearch
from elasticsearch import Elasticsearch, helpers

URL, PREFIX = sys.argv[1:]
MAJOR = elasticsearch.__version__[0]
BOOKS, COPY, MANY, OTHER = (PREFIX + name for name in ("books", "copy", "many", "other"))

# Up to 6.x documents and mappings have a type.
TYPED = {"doc_type": "book"} if MAJOR < 7 else {}


def plain(value):
    """What json can print: answers of 8.x are objects of their own."""
    if hasattr(value, "body"):
        return value.body
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, (datetime, Exception, bytes)):
        return str(value)
    raise TypeError("%r is not known to json" % (value,))


def tell(step, **outcome):
    print(json.dumps(dict(step=step, **outcome), default=plain, sort_keys=True), flush=True)


def error(e):
    """An exception as an application sees it: its class, and what it was told."""
    told = {"class": [c.__name__ for c in type(e).__mro__[:-3]]}
    if isinstance(e, (helpers.BulkIndexError,)):
        told["errors"] = e.errors
    elif MAJOR < 8 and isinstance(e, elasticsearch.TransportError):
        told.update(status=e.status_code, error=e.error, info=e.info)
    elif MAJOR == 8 and isinstance(e, elasticsearch.ApiError):
        told.update(status=e.status_code, error=e.error, info=e.body)
    else:
        told["message"] = str(e)
    if str(told.get("error", "")).startswith("{"):
        del told["error"]  # the whole answer as text, where it has no error
    return told


def step(name, do, /, *args, **kwargs):
    """Does one step and tells its result, which is returned as well."""
    try:
        result = do(*args, **kwargs)
    except Exception as e:
        tell(name, failed=error(e))
        return None
    tell(name, result=result)
    return result


def fails(name, do, /, *args, **kwargs):
    """A step that the application expects to fail."""
    try:
        result = do(*args, **kwargs)
    except Exception as e:
        tell(name, result=error(e))
    else:
        tell(name, failed={"nothing failed": result})


# The machine may be slow.
es = Elasticsearch(URL, request_timeout=120) if MAJOR == 8 else Elasticsearch([URL], timeout=120)


def search(index, body, **params):
    """8.x takes the parts of a body as arguments."""
    if MAJOR == 8:
        return es.search(index=index, **body, **params)
    if MAJOR < 7:
        params.setdefault("doc_type", "book")
    return es.search(index=index, body=body, **params)


def document(**source):
    return {"document": source} if MAJOR == 8 else {"body": source}


def partly(**body):
    return body if MAJOR == 8 else {"body": body}


def book(i):
    return {
        "title": "Volume %d of the %s story" % (i, ("long", "short", "endless")[i % 3]),
        "author": ("Herbert", "Le Guin", "Lem", "Butler")[i % 4],
        "year": 1950 + i % 60,
        "price": i * 0.5,
        "published": "20%02d-%02d-01T10:00:00Z" % (10 + i % 5, 1 + i % 12),
        "available": i % 2 == 0,
        "place": {"lat": 50 + i % 10, "lon": 8 + i % 5},
        "reviews": [{"by": "reader %d" % (i % 3), "stars": 1 + i % 5}],
    }


def mapping():
    properties = {
        "title": {
            "type": "text",
            "analyzer": "titles",
            "fields": {"raw": {"type": "keyword", "ignore_above": 100}},
        },
        "author": {"type": "keyword"},
        "year": {"type": "integer"},
        "price": {"type": "double"},
        "published": {"type": "date"},
        "available": {"type": "boolean"},
        "place": {"type": "geo_point"},
        "suggest": {"type": "completion"},
        "reviews": {"type": "nested", "properties": {"by": {"type": "keyword"}, "stars": {"type": "byte"}}},
    }
    return {"properties": properties}


def typed(body):
    """Mappings, as they are written below an index."""
    return {"book": body} if MAJOR < 7 else body


SETTINGS = {
    "number_of_shards": 2,
    "number_of_replicas": 0,
    "analysis": {
        "filter": {"few": {"type": "stop", "stopwords": ["the", "of"]}},
        "analyzer": {"titles": {"type": "custom", "tokenizer": "standard", "filter": ["lowercase", "few"]}},
    },
}


def meet():
    step("ping", es.ping)
    step("info", es.info)
    step("the nodes", lambda: sorted(n["http"]["publish_address"] for n in es.nodes.info(metric="http")["nodes"].values()))
    if MAJOR == 8:
        sniffing = Elasticsearch(URL, sniff_on_start=True)
        step("sniffed", lambda: [str(n.base_url) for n in sniffing.transport.node_pool.all()])
    else:
        sniffing = Elasticsearch([URL], sniff_on_start=True, sniff_on_connection_fail=True)
        step("sniffed", lambda: [c.host for c in sniffing.transport.connection_pool.connections])
    step("info of the sniffed", lambda: sniffing.info()["version"]["number"])


def make_indices():
    settings = {"settings": SETTINGS, "mappings": typed(mapping()), "aliases": {PREFIX + "shop": {}}}
    step("create an index", es.indices.create, index=BOOKS, **partly(**settings))
    fails("create it again", es.indices.create, index=BOOKS)
    step("it exists", lambda: bool(es.indices.exists(index=BOOKS)))
    step("another does not", lambda: bool(es.indices.exists(index=PREFIX + "nothing")))
    step("its mapping", es.indices.get_mapping, index=BOOKS)
    step("its settings", es.indices.get_settings, index=BOOKS)
    step("its whole", es.indices.get, index=BOOKS)
    step("the mapping of a field", es.indices.get_field_mapping, index=BOOKS,
         **dict({"fields": "title"}, **({"doc_type": "book"} if MAJOR < 7 else {})))
    step("add a field", es.indices.put_mapping, index=BOOKS, **TYPED,
         **partly(properties={"pages": {"type": "integer"}}))
    fails("change a field", es.indices.put_mapping, index=BOOKS, **TYPED,
          **partly(properties={"author": {"type": "text"}}))
    index = {"index": {"refresh_interval": "200ms"}}
    step("change a setting", es.indices.put_settings, index=BOOKS, **({"settings": index} if MAJOR == 8 else {"body": index}))
    fails("change a final setting", es.indices.put_settings, index=BOOKS,
          **({"settings": {"index.number_of_shards": 5}} if MAJOR == 8 else {"body": {"index.number_of_shards": 5}}))
    step("one setting", es.indices.get_settings, index=BOOKS, name="index.refresh_interval")
    step("analyze", es.indices.analyze, index=BOOKS, **partly(analyzer="titles", text="The Story of the Stone"))


def write():
    step("index a document", es.index, index=BOOKS, id="1", **TYPED, **document(**book(1)))
    step("index it again", es.index, index=BOOKS, id="1", **TYPED, **document(**book(1)))
    made = step("index without an id", es.index, index=BOOKS, **TYPED, **document(**book(2)))
    step("get it by its id", lambda: es.get(index=BOOKS, id=made["_id"], **TYPED)["_source"])
    step("delete it", es.delete, index=BOOKS, id=made["_id"] if made else "-", **TYPED)
    step("create a document", es.create, index=BOOKS, id="2", refresh=True, **TYPED, **document(**book(2)))
    fails("create it twice", es.create, index=BOOKS, id="2", **TYPED, **document(**book(2)))
    step("get a document", es.get, index=BOOKS, id="1", **TYPED)
    step("get some fields", es.get, index=BOOKS, id="1", **TYPED,
         **{"_source_include" if MAJOR < 6 else "_source_includes": ["title", "ye*"]})
    step("get the source", es.get_source, index=BOOKS, id="1", **TYPED)
    step("a document exists", lambda: bool(es.exists(index=BOOKS, id="1", **TYPED)))
    step("a document does not exist", lambda: bool(es.exists(index=BOOKS, id="none", **TYPED)))
    fails("get a missing document", es.get, index=BOOKS, id="none", **TYPED)
    fails("get from a missing index", es.get, index=PREFIX + "nothing", id="1", **TYPED)
    fails("delete a missing document", es.delete, index=BOOKS, id="none", **TYPED)
    step("an ignored 404", lambda: plain_ignored(es.get))
    step("update a document", es.update, index=BOOKS, id="1", **TYPED, **partly(doc={"price": 12.5}))
    step("update that changes nothing", es.update, index=BOOKS, id="1", **TYPED, **partly(doc={"price": 12.5}))
    step("upsert", es.update, index=BOOKS, id="3", **TYPED, **partly(doc={"year": 1999}, upsert=book(3)))
    step("upsert again", es.update, index=BOOKS, id="3", **TYPED, **partly(doc={"year": 1999}, upsert=book(3)))
    step("doc as upsert", es.update, index=BOOKS, id="4", **TYPED, **partly(doc=book(4), doc_as_upsert=True))
    step("update with its source", lambda: es.update(
        index=BOOKS, id="4", **TYPED,
        **({"source": True, "doc": {"year": 2000}} if MAJOR == 8 else {"body": {"doc": {"year": 2000}, "_source": True}})))
    fails("update a missing document", es.update, index=BOOKS, id="none", **TYPED, **partly(doc={"year": 1}))
    step("index with routing", es.index, index=BOOKS, id="r", routing="Lem", refresh="wait_for" if MAJOR > 7 else True,
         **TYPED, **document(**book(5)))
    step("get with routing", es.get, index=BOOKS, id="r", routing="Lem", **TYPED)
    step("update with routing", es.update, index=BOOKS, id="r", routing="Lem", **TYPED, **partly(doc={"year": 1961}))
    step("delete with routing", es.delete, index=BOOKS, id="r", routing="Lem", **TYPED)
    step("external version", es.index, index=BOOKS, id="v", version=7, version_type="external", **TYPED, **document(year=7))
    fails("an older external version", es.index, index=BOOKS, id="v", version=6, version_type="external",
          **TYPED, **document(year=6))
    step("delete an external version", es.delete, index=BOOKS, id="v", version=8, version_type="external", **TYPED)
    if MAJOR < 7:
        step("index a version", es.index, index=BOOKS, id="2", version=1, **TYPED, **document(**book(2)))
        fails("index an old version", es.index, index=BOOKS, id="2", version=1, **TYPED, **document(**book(2)))
    else:
        seen = es.get(index=BOOKS, id="2")
        known = {"if_seq_no": seen["_seq_no"], "if_primary_term": seen["_primary_term"]}
        step("index what was seen", es.index, index=BOOKS, id="2", **known, **document(**book(2)))
        fails("index what was changed", es.index, index=BOOKS, id="2", **known, **document(**book(2)))
        fails("delete what was changed", es.delete, index=BOOKS, id="2", **known)
    fails("a wrong value", es.index, index=BOOKS, id="w", **TYPED, **document(year="not a year"))
    step("mget", lambda: es.mget(index=BOOKS, **TYPED, **partly(docs=[
        {"_id": "1", "_source": ["title"]}, {"_id": "none"}, {"_id": "2", "_source": False}])))
    step("mget of ids", lambda: es.mget(index=BOOKS, **TYPED, **partly(ids=["1", "none"]))["docs"])
    step("mget from other indices", lambda: es.mget(**partly(docs=[
        dict({"_index": BOOKS, "_id": "1"}, **({"_type": "book"} if MAJOR < 7 else {})),
        dict({"_index": PREFIX + "nothing", "_id": "1"}, **({"_type": "book"} if MAJOR < 7 else {}))])))
    step("refresh", es.indices.refresh, index=BOOKS)


def plain_ignored(get):
    if MAJOR == 8:
        return es.options(ignore_status=404).get(index=BOOKS, id="none")
    return get(index=BOOKS, id="none", ignore=[404], **TYPED)


def bulk():
    kind = {"_type": "book"} if MAJOR < 7 else {}
    lines = [
        {"index": dict({"_index": BOOKS, "_id": "10"}, **kind)}, book(10),
        {"create": dict({"_index": BOOKS, "_id": "1"}, **kind)}, book(1),
        {"update": dict({"_index": BOOKS, "_id": "10"}, **kind)}, {"doc": {"year": 1910}},
        {"update": dict({"_index": BOOKS, "_id": "none"}, **kind)}, {"doc": {"year": 1910}},
        {"delete": dict({"_index": BOOKS, "_id": "none"}, **kind)},
        {"index": dict({"_index": BOOKS, "_id": "11"}, **kind)}, {"year": "wrong"},
    ]
    if MAJOR == 8:
        step("bulk", es.bulk, operations=lines)
        step("bulk below an index", es.bulk, index=BOOKS, operations=[{"index": {"_id": "12"}}, book(12)], refresh=True)
    else:
        step("bulk", es.bulk, body=lines)
        step("bulk below an index", es.bulk, index=BOOKS, body=[{"index": {"_id": "12"}}, book(12)], refresh=True, **TYPED)

    def actions(first, last, **more):
        for i in range(first, last):
            yield dict({"_index": MANY, "_id": "m%d" % i, "_source": book(i)}, **kind, **more)

    step("create the index of many", es.indices.create, index=MANY, **partly(
        settings=dict(SETTINGS, number_of_shards=1), mappings=typed(mapping())))
    step("helpers.bulk", helpers.bulk, es, actions(0, 1200), chunk_size=500, refresh=True)
    step("helpers.streaming_bulk", lambda: list(helpers.streaming_bulk(es, actions(1200, 1210))))
    step("helpers.parallel_bulk", lambda: sorted(
        (ok, r["index"]["_id"], r["index"]["result"]) for ok, r in helpers.parallel_bulk(
            es, actions(1210, 1250), thread_count=2, chunk_size=10)))
    mixed = [
        dict({"_op_type": "create", "_index": MANY, "_id": "m1", "_source": book(1)}, **kind),
        dict({"_op_type": "update", "_index": MANY, "_id": "m2", "doc": {"year": 1902}}, **kind),
        dict({"_op_type": "delete", "_index": MANY, "_id": "m3"}, **kind),
        dict({"_op_type": "delete", "_index": MANY, "_id": "none"}, **kind),
        dict({"_index": MANY, "_id": "m4", "_source": {"year": "wrong"}}, **kind),
        dict({"_index": MANY, "_id": "m5", "year": 1905}, **dict(kind, **{"routing": "x"})),
    ]
    fails("helpers.bulk with errors", helpers.bulk, es, mixed)
    step("helpers.bulk that goes on", helpers.bulk, es, mixed, raise_on_error=False)
    step("helpers.bulk that counts", helpers.bulk, es, mixed, raise_on_error=False, stats_only=True)
    step("refresh the many", es.indices.refresh, index=MANY)
    step("flush the many", es.indices.flush, index=MANY)
    step("count the many", es.count, index=MANY)
    step("helpers.scan", lambda: sorted(
        (h["_id"], h["_source"].get("year")) for h in helpers.scan(es, index=MANY, size=300, scroll="1m")))
    step("helpers.scan in order", lambda: [
        h["_id"] for h in helpers.scan(
            es, index=MANY, size=100, preserve_order=True, **TYPED,
            query={"query": {"range": {"year": {"gte": 2005}}}, "sort": ["year", {"price": "desc"}]})][:40])
    step("a whole hit of helpers.scan", lambda: next(iter(helpers.scan(
        es, index=MANY, query={"query": {"term": {"price": 17.5}}}))))
    if MAJOR < 8:  # asks for data streams, which 8.7.1 has not as tests run it
        step("create the copy", es.indices.create, index=COPY, body={"settings": {"number_of_shards": 1}})
        step("helpers.reindex", helpers.reindex, es, MANY, COPY, chunk_size=400,
             query={"query": {"term": {"author": "Lem"}}})
        step("refresh the copy", es.indices.refresh, index=COPY)
        step("count the copy", lambda: es.count(index=COPY)["count"])
    pages()


def pages():
    first = step("open a scroll", lambda: search(MANY, {"size": 500, "sort": ["price"], "_source": False}, scroll="1m"))
    second = step("scroll on", lambda: es.scroll(scroll_id=first["_scroll_id"], scroll="1m"))
    step("clear the scroll", lambda: es.clear_scroll(scroll_id=second["_scroll_id"]))
    fails("scroll a cleared one", lambda: es.scroll(scroll_id=second["_scroll_id"], scroll="1m"))
    after, seen = None, []
    for _ in range(3):
        body = {"size": 7, "sort": [{"year": "asc"}, {"price": "desc"}], "_source": ["year"]}
        if after:
            body["search_after"] = after
        page = search(MANY, body)["hits"]["hits"]
        seen.append([(h["_id"], h["sort"]) for h in page])
        after = page[-1]["sort"]
    step("search after", lambda: seen)


def read():
    def query(name, body, **params):
        step("search: " + name, search, MANY, body, **params)

    query("all", {"size": 3, "sort": ["price"]})
    query("match", {"query": {"match": {"title": "endless"}}, "size": 2, "sort": [{"price": "desc"}]})
    query("bool", {"query": {"bool": {
        "must": [{"match": {"title": "story"}}], "filter": [{"term": {"author": "Lem"}}, {"range": {"year": {"gte": 1980, "lt": 1990}}}],
        "must_not": [{"term": {"available": True}}], "should": [{"match": {"title": "short"}}]}},
        "size": 4, "sort": [{"year": "asc"}, {"price": {"order": "desc"}}], "_source": {"includes": ["ti*", "reviews.by"], "excludes": ["place"]}})
    query("terms and ids", {"query": {"bool": {"filter": [{"terms": {"author": ["Lem", "Butler"]}}, {"ids": {"values": ["m2", "m3", "m6"]}}]}}})
    query("query string", {"query": {"query_string": {"query": "title:endless AND author:Lem", "default_field": "title"}}, "size": 1, "sort": ["price"]})
    query("multi match phrase", {"query": {"multi_match": {"query": "long story", "type": "phrase", "fields": ["title"]}}, "size": 1, "sort": ["price"]})
    query("nested", {"query": {"nested": {"path": "reviews", "query": {"bool": {"filter": [
        {"term": {"reviews.by": "reader 1"}}, {"term": {"reviews.stars": 5}}]}}, "inner_hits": {}}}, "size": 1, "sort": ["price"]})
    query("highlight", {"query": {"match": {"title": "endless"}}, "size": 2, "sort": ["price"], "_source": False,
                        "highlight": {"pre_tags": ["<b>"], "post_tags": ["</b>"], "fields": {"title": {}}}})
    query("geo", {"query": {"geo_distance": {"distance": "150km", "place": {"lat": 51, "lon": 9}}}, "size": 2,
                  "sort": [{"_geo_distance": {"place": {"lat": 50, "lon": 8}, "unit": "km"}}, "price"], "_source": ["place"]})
    query("doc values and version", {"size": 1, "sort": ["price"], "_source": False, "version": True, "docvalue_fields": ["year", "author"]})
    query("script free function score", {"query": {"function_score": {"query": {"term": {"year": 1960}}, "field_value_factor": {"field": "price"}}}, "size": 2})
    query("collapse", {"size": 3, "sort": ["price"], "collapse": {"field": "author", "inner_hits": {"name": "dear", "size": 1, "sort": [{"price": "desc"}], "_source": ["price"]}}, "_source": ["author"]})
    query("suggest a term", {"size": 0, "suggest": {"spelling": {"text": "endles", "term": {"field": "title"}}}})
    query("post filter and min score", {"query": {"match_all": {}}, "post_filter": {"term": {"author": "Lem"}}, "size": 1, "sort": ["price"]})
    query("nothing", {"query": {"term": {"author": "nobody"}}})
    query("by parameters", {"query": {"match_all": {}}}, size=1, sort="price:desc", filter_path="hits.total,hits.hits._id")
    step("search: q", lambda: es.search(index=MANY, q="author:Lem", size=1, sort="price", **({"doc_type": "book"} if MAJOR < 7 else {})))
    aggregations = {
        "authors": {"terms": {"field": "author", "size": 3, "order": {"_key" if MAJOR > 5 else "_term": "asc"}},
                    "aggs": {"price": {"stats": {"field": "price"}}, "dear": {"top_hits": {"size": 1, "sort": [{"price": "desc"}], "_source": ["title"]}}}},
        "months": {"date_histogram": {"field": "published", "interval" if MAJOR < 7 else "calendar_interval": "year", "format": "yyyy-MM-dd"}},
        "years": {"cardinality": {"field": "year"}},
        "reviews": {"nested": {"path": "reviews"}, "aggs": {"stars": {"avg": {"field": "reviews.stars"}},
                    "by": {"terms": {"field": "reviews.by"}, "aggs": {"back": {"reverse_nested": {}, "aggs": {"first": {"min": {"field": "year"}}}}}}}},
        "prices": {"range": {"field": "price", "ranges": [{"to": 100}, {"from": 100, "to": 200, "key": "middle"}, {"from": 200}]}},
        "sold": {"filters": {"filters": {"yes": {"term": {"available": True}}, "no": {"term": {"available": False}}}}},
        "decades": {"histogram": {"field": "year", "interval": 10, "min_doc_count": 1}},
        "half": {"percentiles": {"field": "year", "percents": [0, 100]}},
        "none": {"missing": {"field": "pages"}},
        "spread": {"extended_stats": {"field": "price"}},
    }
    query("aggregations", {"size": 0, "aggs": aggregations})
    several = [{"index": MANY}, {"size": 1, "sort": ["price"], "_source": ["year"]},
               {"index": PREFIX + "nothing"}, {"query": {"match_all": {}}},
               {"index": MANY}, {"query": {"term": {"author": "Lem"}}, "size": 0}]
    step("msearch", es.msearch, **({"searches": several} if MAJOR == 8 else {"body": several}))
    step("count", es.count, index=MANY, **partly(query={"term": {"author": "Lem"}}))
    step("explain", lambda: es.explain(index=MANY, id="m2", **TYPED, **partly(query={"term": {"author": "Lem"}}))["matched"])
    step("field caps", lambda: es.field_caps(index=MANY, fields="year,author")["fields"])
    step("term vectors", lambda: es.termvectors(index=MANY, id="m2", fields=["title"], **TYPED)["term_vectors"])
    step("validate a query", lambda: es.indices.validate_query(index=MANY, **partly(query={"term": {"author": "x"}}))["valid"])
    fails("a query that is none", search, MANY, {"query": {"no_such_query": {}}})
    fails("sort by what is not mapped", search, MANY, {"sort": ["no_such_field"]})
    fails("search a missing index", search, PREFIX + "nothing", {"query": {"match_all": {}}})
    step("search missing indices leniently", lambda: search(PREFIX + "nothing", {"size": 1}, ignore_unavailable=True)["hits"])
    completions()


def completions():
    for i, title in enumerate(("Dune", "Dune Messiah", "Solaris")):
        es.index(index=BOOKS, id="s%d" % i, **TYPED, **document(title=title, suggest={"input": [title], "weight": 10 - i}))
    es.indices.refresh(index=BOOKS)
    body = {"_source": ["title"], "suggest": {"titles": {"prefix": "du", "completion": {"field": "suggest"}}}}
    step("suggest completions", lambda: search(BOOKS, body)["suggest"])


def change_many():
    """Deletes, updates and copies by query; 8.7.1 at home, as tests run it, has none."""
    if MAJOR == 8:
        return
    body = {"query": {"term": {"author": "Butler"}}}
    step("delete by query", es.delete_by_query, index=COPY + "*", body={"query": {"term": {"year": 1952}}}, refresh=True)
    step("what it left", lambda: es.count(index=COPY)["count"])
    step("update by query", es.update_by_query, index=MANY, body=body, refresh=True, conflicts="proceed")
    step("reindex", es.reindex, body={"source": {"index": MANY, "query": body["query"]}, "dest": {"index": OTHER}}, refresh=True)
    step("count the reindexed", lambda: es.count(index=OTHER)["count"])


def administer():
    alias, shop = PREFIX + "alias", PREFIX + "shop"
    step("put an alias", es.indices.put_alias, index=BOOKS, name=alias)
    step("put an alias with a filter", es.indices.put_alias, index=MANY, name=PREFIX + "lem",
         **partly(filter={"term": {"author": "Lem"}}, routing="1"))
    step("an alias exists", lambda: bool(es.indices.exists_alias(name=alias)))
    step("get an alias", es.indices.get_alias, name=alias)
    step("get aliases of an index", es.indices.get_alias, index=MANY)
    fails("get a missing alias", es.indices.get_alias, name=PREFIX + "none")
    step("move an alias", es.indices.update_aliases, **partly(actions=[
        {"remove": {"index": BOOKS, "alias": shop}}, {"add": {"index": MANY, "alias": shop}}]))
    step("get the moved alias", es.indices.get_alias, name=shop)
    step("search an alias", lambda: search(PREFIX + "lem", {"size": 0})["hits"]["total"])
    step("delete an alias", es.indices.delete_alias, index=BOOKS, name=alias)
    template = {"settings": {"number_of_shards": 1, "number_of_replicas": 0}, "mappings": typed({"properties": {"at": {"type": "date"}}}),
                "aliases": {PREFIX + "logs": {}}}
    pattern = {"template": PREFIX + "log-*"} if MAJOR == 5 else {"index_patterns": [PREFIX + "log-*"]}
    step("put a template", es.indices.put_template, name=PREFIX + "t", **partly(order=1, **pattern, **template))
    step("a template exists", lambda: bool(es.indices.exists_template(name=PREFIX + "t")))
    step("get a template", es.indices.get_template, name=PREFIX + "t")
    if MAJOR > 7:
        step("put an index template", es.indices.put_index_template, name=PREFIX + "it", index_patterns=[PREFIX + "event-*"],
             template={"settings": {"number_of_shards": 1}, "mappings": {"properties": {"at": {"type": "date"}}}}, priority=5)
        step("get an index template", es.indices.get_index_template, name=PREFIX + "it")
        step("index by an index template", es.index, index=PREFIX + "event-1", id="1", document={"at": "2020-01-01"})
        step("the mapping by an index template", es.indices.get_mapping, index=PREFIX + "event-1")
        step("delete an index template", es.indices.delete_index_template, name=PREFIX + "it")
    step("index by a template", es.index, index=PREFIX + "log-1", id="1", refresh=True, **TYPED, **document(at="2020-01-01T00:00:00Z"))
    step("the mapping by a template", es.indices.get_mapping, index=PREFIX + "log-1")
    step("the alias by a template", es.indices.get_alias, index=PREFIX + "log-1")
    step("delete a template", es.indices.delete_template, name=PREFIX + "t")
    fails("get a missing template", es.indices.get_template, name=PREFIX + "t")
    step("stats", lambda: {k: es.indices.stats(index=BOOKS)["_all"]["primaries"][k] for k in ("docs", "store")})
    step("health", es.cluster.health, index=BOOKS)
    step("cat indices", lambda: str(es.cat.indices(index=BOOKS, h="index,docs.count,pri,rep,status")))
    step("cat indices with a head", lambda: str(es.cat.indices(index=BOOKS, v=True, h="health,status,index,docs.count")))
    step("cat as json", lambda: cat_json())
    step("cat count", lambda: str(es.cat.count(index=MANY, h="count")))
    step("cat aliases", lambda: str(es.cat.aliases(name=PREFIX + "lem")))
    step("close an index", lambda: es.indices.close(index=BOOKS)["acknowledged"])
    fails("search a closed index", search, BOOKS, {"query": {"match_all": {}}})
    step("open an index", es.indices.open(index=BOOKS).__getitem__, "acknowledged")
    step("force merge", lambda: es.indices.forcemerge(index=BOOKS, max_num_segments=1)["_shards"]["failed"])
    step("cluster settings", lambda: sorted(es.cluster.get_settings()))
    step("the state's metadata", lambda: sorted(es.cluster.state(metric="metadata", index=BOOKS)["metadata"]["indices"]))
    step("put a pipeline", es.ingest.put_pipeline, id=PREFIX + "p", **partly(description="nothing", processors=[]))
    step("get a pipeline", es.ingest.get_pipeline, id=PREFIX + "p")
    step("delete a pipeline", es.ingest.delete_pipeline, id=PREFIX + "p")


def cat_json():
    rows = es.cat.indices(index=MANY, format="json", h="index,docs.count,status")
    return getattr(rows, "body", rows)


def dsl():
    """The same work with elasticsearch-dsl."""
    if MAJOR == 8:
        from elasticsearch.dsl import Date, Document, Keyword, Q, Search, Text
    else:
        from elasticsearch_dsl import Date, Document, Keyword, Q, Search, Text

    class Note(Document):
        text = Text(fields={"raw": Keyword()})
        tag = Keyword()
        at = Date()

        class Index:
            name = PREFIX + "notes"
            settings = {"number_of_shards": 1}

        class Meta:
            index = PREFIX + "notes"

    step("dsl: init", lambda: Note.init(using=es))
    step("dsl: mapping", es.indices.get_mapping, index=PREFIX + "notes")
    note = Note(text="first note", tag="a", at=datetime(2020, 1, 2), meta={"id": "1"})
    step("dsl: save", lambda: str(note.save(using=es, refresh=True)))
    step("dsl: save again", lambda: str(note.save(using=es)))
    step("dsl: update", lambda: str(note.update(using=es, tag="b", refresh=True)))
    step("dsl: get", lambda: Note.get(id="1", using=es).to_dict())
    step("dsl: meta", lambda: {k: v for k, v in Note.get(id="1", using=es).meta.to_dict().items() if k not in ("seq_no", "primary_term")})
    fails("dsl: get nothing", lambda: Note.get(id="none", using=es))
    found = Search(using=es, index=PREFIX + "notes").query(Q("match", text="note") & ~Q("term", tag="a")).highlight("text").extra(size=5)
    step("dsl: search", lambda: [(h.meta.id, h.text, list(h.meta.highlight.text)) for h in found.execute()])
    step("dsl: total", lambda: total(found.execute().hits.total))
    step("dsl: count", found.count)
    many = Search(using=es, index=MANY).filter("range", year={"gte": 2000})
    many.aggs.bucket("authors", "terms", field="author").metric("mean", "avg", field="price")
    step("dsl: aggregations", lambda: [(b.key, b.doc_count, round(b.mean.value, 6)) for b in many[:0].execute().aggregations.authors.buckets])
    step("dsl: scan", lambda: sorted(h.meta.id for h in Search(using=es, index=MANY).filter("term", author="Lem").scan()))
    if MAJOR < 8:
        step("dsl: delete by query", lambda: found.delete().to_dict())
    step("dsl: delete", lambda: str(note.delete(using=es)) if MAJOR == 8 else "left")


def total(t):
    return t.to_dict() if hasattr(t, "to_dict") else t


def leave():
    for name in (BOOKS, MANY) + ((COPY,) if MAJOR < 8 else ()):
        step("delete " + name[len(PREFIX):], es.indices.delete, index=name)
    fails("delete a missing index", es.indices.delete, index=BOOKS)
    if MAJOR > 5:
        step("delete what is missing leniently", es.indices.delete, index=BOOKS, ignore_unavailable=True)


PARTS = [meet, make_indices, write, bulk, read, change_many, administer]
if MAJOR > 5:  # elasticsearch-dsl 5 needs an older Python
    PARTS.append(dsl)

for part in PARTS + [leave]:
    try:
        part()
    except Exception as e:  # what a step did not catch ends its part only
        tell("all of " + part.__name__, failed=error(e))
    else:
        tell("all of " + part.__name__, result="done")
