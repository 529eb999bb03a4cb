'use strict'

// The official client of 8.x as an application uses it: node day.js <url> <prefix>.

const { Client, errors } = require('@elastic/elasticsearch')
const { steps, withoutCauses, event, range, shelf, properties, analysis } = require('../step.js')

const [url, prefix] = process.argv.slice(2)
const name = n => prefix + n
const [books, events, films] = ['books', 'events', 'films'].map(name)
const client = new Client({ node: url, maxRetries: 0, requestTimeout: 30000 })

// Of an error the library tells its class, the status and the answer.
const { step, fails } = steps(e => e instanceof errors.ElasticsearchClientError && {
  class: e.name,
  message: e.message.startsWith('{') ? 'the answer' : e.message.split(/[:\n]/)[0],
  status: e.statusCode,
  body: e.meta && withoutCauses(e.meta.body)
})

const call = step

async function main () {
  await call('ping', () => client.ping())
  await call('info', () => client.info())

  await call('create an index', () => client.indices.create({
    index: books,
    settings: { number_of_shards: 1, number_of_replicas: 0, analysis }, mappings: { dynamic: 'true', properties }, aliases: { [name('library')]: {} }
  }))
  await call('health', () => client.cluster.health({ index: books, level: 'indices', wait_for_status: 'yellow' }))
  await fails('create it again', () => client.indices.create({ index: books }))
  await fails('create one with a wrong mapping', () => client.indices.create({ index: name('wrong'), mappings: { properties: { a: { type: 'nonsense' } } } }))
  await call('index exists', () => client.indices.exists({ index: books }))
  await call('index does not exist', () => client.indices.exists({ index: films }))
  await call('get the index', () => client.indices.get({ index: books }))
  await call('get the mapping', () => client.indices.getMapping({ index: books }))
  await call('get the mapping of a field', () => client.indices.getFieldMapping({ index: books, fields: 'title,author' }))
  await step('get the settings', async () => {
    const { [books]: { settings } } = await client.indices.getSettings({ index: books, flat_settings: true })
    return Object.fromEntries(Object.entries(settings).filter(([k]) => k.startsWith('index.analysis') || k.startsWith('index.number')))
  })
  await call('put a mapping', () => client.indices.putMapping({ index: books, properties: { isbn: { type: 'keyword' }, pages: { type: 'long' } } }))
  await fails('put a conflicting mapping', () => client.indices.putMapping({ index: books, properties: { isbn: { type: 'long' } } }))
  await call('put a setting', () => client.indices.putSettings({ index: books, settings: { index: { refresh_interval: '5s' } } }))
  await call('analyze', () => client.indices.analyze({ index: books, analyzer: 'titles', text: ['The Name of the Rose'] }))

  await call('index', () => client.index({ index: books, id: '1', document: shelf[0] }))
  await call('create', () => client.create({ index: books, id: '2', document: shelf[1], refresh: 'wait_for' }))
  await fails('create what exists', () => client.create({ index: books, id: '2', document: shelf[1] }))
  await call('index with a routing', () => client.index({ index: books, id: 'r', routing: 'poland', refresh: true, document: { title: 'Fiasco' } }))
  await step('index without an id', async () => {
    const { _id, _seq_no, ...rest } = await client.index({ index: books, document: { title: 'Anonymous' } })
    return { length: _id.length, ...rest, deleted: (await client.delete({ index: books, id: _id })).result }
  })
  await fails('index malformed', () => client.index({ index: books, id: 'm', document: { year: 'none' } }))
  await step('index if nobody has changed it', async () => {
    const found = await client.get({ index: books, id: '2' })
    return await client.index({ index: books, id: '2', if_seq_no: found._seq_no, if_primary_term: found._primary_term, document: shelf[1] })
  })
  await fails('index though somebody has changed it', () => client.index({ index: books, id: '2', if_seq_no: 1000, if_primary_term: 1, document: shelf[1] }))
  await call('index with an external version', () => client.index({ index: books, id: 'x', version: 40, version_type: 'external', document: { title: 'External' } }))
  await fails('index with an older external version', () => client.index({ index: books, id: 'x', version: 39, version_type: 'external', document: { title: 'External' } }))
  await fails('index into what is no alias', () => client.index({ index: name('nobody'), id: '1', require_alias: true, document: {} }))
  await call('get', () => client.get({ index: books, id: '1' }))
  await call('get some of it', () => client.get({ index: books, id: '1', _source_includes: ['title', 'reviews.by'] }))
  await call('get with a routing', () => client.get({ index: books, id: 'r', routing: 'poland' }))
  await fails('get what is missing', () => client.get({ index: books, id: '99' }))
  await fails('get from a missing index', () => client.get({ index: films, id: '1' }))
  await step('a missing document, ignored', () => client.get({ index: books, id: '99' }, { ignore: [404], meta: true }).then(r => [r.statusCode, r.body]))
  await call('get the source', () => client.getSource({ index: books, id: '1' }))
  await fails('get the source of what is missing', () => client.getSource({ index: books, id: '99' }))
  await call('exists', () => client.exists({ index: books, id: '1' }))
  await call('does not exist', () => client.exists({ index: books, id: '99' }))
  await call('update', () => client.update({ index: books, id: '1', doc: { pages: 304 }, retry_on_conflict: 2, _source: true }))
  await call('update that changes nothing', () => client.update({ index: books, id: '1', doc: { pages: 304 } }))
  await fails('update what is missing', () => client.update({ index: books, id: '99', doc: { pages: 1 } }))
  await call('upsert', () => client.update({ index: books, id: 'u', doc: { pages: 2 }, upsert: { title: 'Upserted' } }))
  await call('upsert by the document', () => client.update({ index: books, id: 'v', doc: { title: 'Upserted too' }, doc_as_upsert: true }))
  await call('delete', () => client.delete({ index: books, id: 'v' }))
  await fails('delete what is missing', () => client.delete({ index: books, id: 'v' }))

  await call('bulk with mixed results', () => client.bulk({
    refresh: true,
    operations: [
      { index: { _index: books, _id: '1' } }, { ...shelf[0], pages: 304, suggest: ['left hand', 'darkness'] },
      { create: { _index: books, _id: '2' } }, shelf[1],
      { index: { _index: books, _id: '3' } }, { ...shelf[2], suggest: { input: ['solaris'], weight: 3 } },
      { index: { _index: books, _id: '4' } }, shelf[3],
      { index: { _index: books, _id: '5' } }, shelf[4],
      { index: { _index: books, _id: '6' } }, { year: 'none' },
      { update: { _index: books, _id: '3' } }, { doc: { pages: 204 } },
      { update: { _index: books, _id: '98' } }, { doc: { pages: 204 } },
      { delete: { _index: books, _id: 'u' } },
      { delete: { _index: books, _id: '97' } }
    ]
  }))
  await call('bulk below an index', () => client.bulk({ index: books, operations: [{ delete: { _id: 'x' } }, { delete: { _id: 'r', routing: 'poland' } }, { index: { _id: 'd' } }, { title: 'Draft' }], refresh: 'true' }))
  await call('read many', () => client.mget({ docs: [{ _index: books, _id: '1', _source: ['title'] }, { _index: books, _id: '99' }, { _index: films, _id: '1' }] }))
  await call('read many of one index', () => client.mget({ index: books, ids: ['1', '3', '99'], _source: 'author' }))

  const search = (what, body, more) => call('search ' + what, () => client.search({ index: books, ...body, ...more }))
  await search('everything', { query: { match_all: {} }, sort: [{ year: 'asc' }] }, { track_total_hits: true })
  await search('counting up to two', { query: { match_all: {} }, size: 0, track_total_hits: 2 })
  await search('without a count', { query: { match_all: {} }, size: 0, track_total_hits: false })
  await search('with a number for a total', { query: { match_all: {} }, size: 0 }, { rest_total_hits_as_int: true })
  await search('match with a highlight', { query: { match: { title: 'darkness' } }, highlight: { fields: { title: {} } } })
  await search('bool', { query: { bool: { must: { match: { author: 'lem' } }, filter: [{ range: { year: { gte: 1965, lt: 1970 } } }], must_not: { term: { tags: 'zone' } }, should: [{ terms: { tags: ['magic', 'robot'] } }] } }, _source: ['title', 'year'] })
  await search('of a page', { query: { exists: { field: 'author' } }, sort: [{ author: { order: 'desc' } }, { year: { order: 'asc' } }], from: 1, size: 2, _source: false })
  await search('after a hit', { query: { exists: { field: 'author' } }, sort: ['year'], search_after: [1965], size: 2 })
  await search('nested', { query: { nested: { path: 'reviews', query: { range: { 'reviews.stars': { gte: 4 } } }, inner_hits: { sort: [{ 'reviews.stars': 'desc' }] } } }, sort: ['year'], version: true, seq_no_primary_term: true })
  await search('collapsed', { query: { exists: { field: 'author' } }, collapse: { field: 'author', inner_hits: { name: 'oldest', size: 1, sort: ['year'], _source: ['title'] } }, sort: ['year'] })
  await search('by its id', { query: { ids: { values: ['1', '4'] } }, sort: ['year'] })
  await search('by a string', undefined, { q: 'author:lem', sort: 'year:desc', size: 1, _source_excludes: ['reviews'] })
  await search('near a place', { query: { geo_distance: { distance: '100km', place: '50,20' } }, sort: [{ _geo_distance: { place: [20, 50], unit: 'km', order: 'asc' } }, 'year'], _source: ['title'] })
  await search('scored', { query: { function_score: { query: { exists: { field: 'author' } }, functions: [{ filter: { term: { author: 'lem' } }, weight: 5 }], boost_mode: 'replace' } }, sort: ['_score', 'year'], track_scores: true })
  await search('doc values', { query: { term: { author: 'lem' } }, docvalue_fields: ['year', { field: 'published', format: 'yyyy/MM' }], _source: false, sort: ['year'] })
  await search('fields', { query: { term: { author: 'lem' } }, fields: ['title', 'published'], _source: false, sort: ['year'] })
  await search('with aggregations', {
    size: 0,
    aggs: {
      authors: { terms: { field: 'author', order: { _key: 'asc' } }, aggs: { prices: { stats: { field: 'price' } }, best: { top_hits: { size: 1, sort: [{ year: 'desc' }], _source: ['title'] } } } },
      decades: { histogram: { field: 'year', interval: 10, min_doc_count: 1 } },
      years: { date_histogram: { field: 'published', calendar_interval: 'year', format: 'yyyy', min_doc_count: 1 } },
      tags: { cardinality: { field: 'tags' } },
      cheap: { filter: { range: { price: { lt: 7 } } }, aggs: { n: { value_count: { field: 'price' } } } },
      reviews: { nested: { path: 'reviews' }, aggs: { stars: { avg: { field: 'reviews.stars' } }, by: { terms: { field: 'reviews.by', size: 2, order: { _key: 'asc' } } } } },
      percentiles: { percentiles: { field: 'price', percents: [50] } },
      ranges: { range: { field: 'price', ranges: [{ to: 7 }, { from: 7, key: 'dear' }] } },
      empty: { max: { field: 'unknown' } }
    }
  }, { typed_keys: true })
  await fails('search with a wrong query', () => client.search({ index: books, query: { nonsense: {} } }))
  await fails('search sorted by a text', () => client.search({ index: books, sort: ['title'] }))
  await fails('search in a missing index', () => client.search({ index: films  }))
  await call('search in a missing index, allowed', () => client.search({ index: [films, books], ignore_unavailable: true, size: 0 }))
  await call('count', () => client.count({ index: books, query: { term: { author: 'lem' } } }))
  await step('explain', async () => {
    const { explanation, ...rest } = await client.explain({ index: books, id: '1', query: { match: { title: 'darkness' } } })
    return rest
  })
  await call('validate a query', () => client.indices.validateQuery({ index: books, query: { term: { author: 'lem' } } }))
  await call('field capabilities', () => client.fieldCaps({ index: books, fields: ['title', 'year', 'unknown'] }))
  await call('several searches', () => client.msearch({
    searches: [{ index: books }, { query: { term: { author: 'lem' } }, sort: ['year'], _source: ['title'] }, { index: films }, { query: { match_all: {} } }, { index: books }, { query: { term: { tags: 'magic' } }, size: 0 }]
  }))
  await step('term vectors', async () => {
    const { took, ...rest } = await client.termvectors({ index: books, id: '3', fields: ['title'], field_statistics: false })
    return rest
  })

  // The helpers of the library.
  await call('an index of events', () => client.indices.create({ index: events, settings: { number_of_shards: 2, number_of_replicas: 0 }, mappings: { properties: { word: { type: 'keyword' }, at: { type: 'date' } } } }))
  await step('helper bulk', async () => {
    const dropped = []
    const { time, bytes, ...stats } = await client.helpers.bulk({
      datasource: range(1201).map(n => n === 1200 ? { ...event(n), at: 'never' } : event(n)),
      onDocument: d => ({ index: { _index: events, _id: String(d.number) } }),
      onDrop: d => dropped.push({ status: d.status, type: d.error.type, document: d.document.number }),
      flushBytes: 30000,
      concurrency: 2,
      refreshOnCompletion: events
    })
    return { stats, dropped }
  })
  await step('helper bulk with updates and deletions', async () => {
    const { time, bytes, ...stats } = await client.helpers.bulk({
      datasource: range(10).map(n => ({ n, extra: true })),
      onDocument: d => d.n % 2 ? { delete: { _index: events, _id: String(1000 + d.n) } } : [{ update: { _index: events, _id: String(1000 + d.n) } }, { doc_as_upsert: true }],
      refreshOnCompletion: true
    })
    return stats
  })
  await step('helper scrollSearch', async () => {
    const pages = []
    for await (const page of client.helpers.scrollSearch({ index: events, size: 500, query: { range: { number: { gte: 10 } } }, sort: ['number'] })) {
      pages.push({ documents: page.documents.length, first: page.documents[0], total: page.body.hits.total, hit: page.body.hits.hits[0] })
    }
    return pages
  })
  await step('helper scrollDocuments', async () => {
    let sum = 0
    let n = 0
    for await (const d of client.helpers.scrollDocuments({ index: events, size: 300, query: { term: { word: 'amber' } } })) {
      n++
      sum += d.number
    }
    return { n, sum }
  })
  await step('helper search', () => client.helpers.search({ index: books, query: { term: { author: 'lem' } }, sort: ['year'] }))
  await step('helper msearch', async () => {
    const m = client.helpers.msearch({ operations: 3 })
    const told = await Promise.all([
      m.search({ index: books }, { query: { term: { author: 'lem' } }, sort: ['year'] }).then(r => ({ status: r.status, documents: r.documents })),
      m.search({ index: books }, { sort: 'title' }).catch(e => ({ class: e.name, message: e.message.split(/[:\n]/)[0], status: e.statusCode })),
      m.search({ index: films }, { query: { match_all: {} } }).catch(e => ({ class: e.name, message: e.message.split(/[:\n]/)[0], status: e.statusCode }))
    ])
    m.stop()
    return told
  })
  await step('scroll', async () => {
    const seen = new Set()
    let page = await client.search({ index: events, scroll: '1m', size: 400, sort: ['_doc'] })
    let last
    while (page.hits.hits.length > 0) {
      page.hits.hits.forEach(h => seen.add(h._id))
      last = page._scroll_id
      page = await client.scroll({ scroll_id: last, scroll: '1m' })
    }
    const { body: { succeeded }, statusCode } = await client.clearScroll({ scroll_id: [last] }, { meta: true })
    return { seen: seen.size, succeeded, statusCode, total: page.hits.total }
  })
  await call('aggregate the list', () => client.search({ index: events, size: 0, aggs: { days: { date_histogram: { field: 'at', fixed_interval: '10d' }, aggs: { words: { terms: { field: 'word', size: 2 } } } } } }))
  await call('page through buckets', () => client.search({ index: events, size: 0, aggs: { by: { composite: { size: 3, after: { word: 'birch' }, sources: [{ word: { terms: { field: 'word' } } }] } } } }))
  await call('move an alias', () => client.indices.updateAliases({ actions: [{ remove: { index: books, alias: name('library') } }, { add: { index: books, alias: name('lem'), filter: { term: { author: 'lem' } } } }] }))
  await call('put an alias', () => client.indices.putAlias({ index: events, name: name('log'), routing: '1' }))
  await call('read the aliases', () => client.indices.getAlias({ index: [books, events] }))
  await fails('read a missing alias', () => client.indices.getAlias({ name: name('nobody') }))
  await call('an alias exists', () => client.indices.existsAlias({ name: name('lem') }))
  await call('search through the alias', () => client.search({ index: name('lem'), sort: 'year', _source: ['title'] }))
  await call('delete an alias', () => client.indices.deleteAlias({ index: events, name: name('log') }))
  await call('put a template', () => client.indices.putTemplate({
    name: name('logs'),
    index_patterns: [name('logs-*')], order: 2, settings: { number_of_shards: 1 }, mappings: { properties: { level: { type: 'keyword' } } }, aliases: { [name('all-logs')]: {} }
  }))
  await call('read the template', () => client.indices.getTemplate({ name: name('logs') }))
  await call('an index by the template', () => client.index({ index: name('logs-1'), id: '1', document: { level: 'warn', text: 'low on memory' }, refresh: true }))
  await call('its mapping', () => client.indices.getMapping({ index: name('logs-1') }))
  await call('search its alias', () => client.search({ index: name('all-logs'), q: 'level:warn' }))
  await call('delete the template', () => client.indices.deleteTemplate({ name: name('logs') }))
  await fails('read the missing template', () => client.indices.getTemplate({ name: name('logs') }))
  await call('put a composable template', () => client.indices.putIndexTemplate({
    name: name('traces'),
    index_patterns: [name('traces-*')], priority: 700, template: { settings: { number_of_shards: 1 }, mappings: { properties: { span: { type: 'keyword' } } }, aliases: { [name('all-traces')]: {} } }
  }))
  await call('read the composable template', () => client.indices.getIndexTemplate({ name: name('traces') }))
  await call('the composable template exists', () => client.indices.existsIndexTemplate({ name: name('traces') }))
  await call('an index by the composable template', () => client.index({ index: name('traces-1'), id: '1', document: { span: 'a' }, refresh: true }))
  await call('its mapping, too', () => client.indices.getMapping({ index: name('traces-1') }))
  await call('delete the composable template', () => client.indices.deleteIndexTemplate({ name: name('traces') }))
  await fails('read the missing composable template', () => client.indices.getIndexTemplate({ name: name('traces') }))
  await call('put a pipeline', () => client.ingest.putPipeline({ id: name('nothing'), description: 'does nothing', processors: [] }))
  await call('read the pipeline', () => client.ingest.getPipeline({ id: name('nothing') }))
  await call('index through the pipeline', () => client.index({ index: name('logs-1'), id: '2', pipeline: name('nothing'), document: { level: 'info' } }))
  await call('delete the pipeline', () => client.ingest.deletePipeline({ id: name('nothing') }))
  await step('search in a point in time', async () => {
    const { id } = await client.openPointInTime({ index: books, keep_alive: '1m' })
    const found = await client.search({ pit: { id, keep_alive: '1m' }, sort: [{ year: 'asc' }], size: 2, query: { exists: { field: 'author' } } })
    const next = await client.search({ pit: { id: found.pit_id, keep_alive: '1m' }, sort: [{ year: 'asc' }], size: 2, query: { exists: { field: 'author' } }, search_after: found.hits.hits[1].sort })
    const closed = await client.closePointInTime({ id: next.pit_id })
    return { ids: [found, next].map(r => r.hits.hits.map(h => h._id)), total: found.hits.total, succeeded: closed.succeeded }
  })

  await call('refresh', () => client.indices.refresh({ index: books }))
  await call('flush', () => client.indices.flush({ index: books }))
  await call('merge', () => client.indices.forcemerge({ index: books, max_num_segments: 1 }))
  await step('search for a spelling', async () => {
    const { suggest: { spelling: [found] } } = await client.search({ index: books, size: 0, suggest: { spelling: { text: 'darknes', term: { field: 'title' } } } })
    return { ...found, options: found.options.map(o => [o.text, typeof o.score]) }
  })
  await search('with suggestions', { size: 0, suggest: { names: { prefix: 'sol', completion: { field: 'suggest' } } } })
  await step('statistics', async () => {
    const { _all: all, indices } = await client.indices.stats({ index: books, metric: 'docs' })
    return { count: all.primaries.docs.count, indices: Object.keys(indices), docs: indices[books].primaries.docs.count }
  })
  await call('cat indices', () => client.cat.indices({ index: books, h: 'index,health,status,docs.count,rep' }))
  await call('cat indices as JSON', () => client.cat.indices({ index: books, format: 'json', h: ['index', 'status'] }))
  await call('cat aliases', () => client.cat.aliases({ name: name('*'), s: 'alias', h: 'alias,index,filter,is_write_index' }))
  await call('cat count', () => client.cat.count({ index: books, h: 'count' }))
  await call('close', () => client.indices.close({ index: books }))
  await fails('search in the closed index', () => client.search({ index: books }))
  await step('open', async () => {
    const opened = await client.indices.open({ index: books })
    await client.cluster.health({ index: books, wait_for_status: 'yellow' })
    return opened
  })
  await step('the state', async () => {
    const { metadata } = await client.cluster.state({ metric: 'metadata', index: name('logs-1') })
    const index = metadata.indices[name('logs-1')]
    return { mappings: index.mappings, state: index.state, aliases: index.aliases }
  })
  await step('sniff', async () => {
    const sniffing = new Client({ node: url, sniffOnStart: true })
    const hosts = await new Promise((resolve, reject) => sniffing.diagnostic.once('sniff', (e, r) => e ? reject(e) : resolve(r.meta.sniff.hosts)))
    const { count } = await sniffing.count({ index: books })
    sniffing.close()
    return { hosts: hosts.map(h => String(h.url)), count }
  })

  await fails('delete a missing index', () => client.indices.delete({ index: films }))
  await call('delete the indices', () => client.indices.delete({ index: [books, events, name('logs-1'), name('traces-1')] }))
}

main().then(() => client.close(), e => { console.error(e); process.exit(1) })
