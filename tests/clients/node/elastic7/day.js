'use strict'

// The official client of 7.x as an application uses it: node day.js <url> <prefix>.

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

// body returns what calls answer with, and the warnings that came along.
const body = async answer => {
  const { body, statusCode, warnings } = await answer
  return { body, statusCode, warnings }
}
const call = (what, run) => step(what, () => body(run()))

async function main () {
  await call('ping', () => client.ping())
  await call('info', () => client.info())

  await call('create an index', () => client.indices.create({
    index: books,
    body: { settings: { number_of_shards: 1, number_of_replicas: 0, analysis }, mappings: { dynamic: 'true', properties }, aliases: { [name('library')]: {} } }
  }))
  await call('health', () => client.cluster.health({ index: books, level: 'indices', wait_for_status: 'yellow' }))
  await fails('create it again', () => client.indices.create({ index: books }))
  await fails('create one with a wrong mapping', () => client.indices.create({ index: name('wrong'), body: { mappings: { properties: { a: { type: 'nonsense' } } } } }))
  await call('index exists', () => client.indices.exists({ index: books }))
  await call('index does not exist', () => client.indices.exists({ index: films }))
  await call('get the index', () => client.indices.get({ index: books }))
  await call('get the mapping', () => client.indices.getMapping({ index: books }))
  await call('get the mapping of a field', () => client.indices.getFieldMapping({ index: books, fields: 'title,author' }))
  await step('get the settings', async () => {
    const { body: { [books]: { settings } } } = await client.indices.getSettings({ index: books, flat_settings: true })
    return Object.fromEntries(Object.entries(settings).filter(([k]) => k.startsWith('index.analysis') || k.startsWith('index.number')))
  })
  await call('put a mapping', () => client.indices.putMapping({ index: books, body: { properties: { isbn: { type: 'keyword' }, pages: { type: 'long' } } } }))
  await fails('put a conflicting mapping', () => client.indices.putMapping({ index: books, body: { properties: { isbn: { type: 'long' } } } }))
  await call('put a setting', () => client.indices.putSettings({ index: books, body: { index: { refresh_interval: '5s' } } }))
  await call('analyze', () => client.indices.analyze({ index: books, body: { analyzer: 'titles', text: ['The Name of the Rose'] } }))

  await call('index', () => client.index({ index: books, id: '1', body: shelf[0] }))
  await call('create', () => client.create({ index: books, id: '2', body: shelf[1], refresh: 'wait_for' }))
  await fails('create what exists', () => client.create({ index: books, id: '2', body: shelf[1] }))
  await call('index with a routing', () => client.index({ index: books, id: 'r', routing: 'poland', refresh: true, body: { title: 'Fiasco' } }))
  await step('index without an id', async () => {
    const { body: { _id, _seq_no, ...rest } } = await client.index({ index: books, body: { title: 'Anonymous' } })
    return { length: _id.length, ...rest, deleted: (await client.delete({ index: books, id: _id })).body.result }
  })
  await fails('index malformed', () => client.index({ index: books, id: 'm', body: { year: 'none' } }))
  await step('index if nobody has changed it', async () => {
    const { body: found } = await client.get({ index: books, id: '2' })
    const { body } = await client.index({ index: books, id: '2', if_seq_no: found._seq_no, if_primary_term: found._primary_term, body: shelf[1] })
    return body
  })
  await fails('index though somebody has changed it', () => client.index({ index: books, id: '2', if_seq_no: 1000, if_primary_term: 1, body: shelf[1] }))
  await call('index with an external version', () => client.index({ index: books, id: 'x', version: 40, version_type: 'external', body: { title: 'External' } }))
  await fails('index with an older external version', () => client.index({ index: books, id: 'x', version: 39, version_type: 'external', body: { title: 'External' } }))
  await fails('index into what is no alias', () => client.index({ index: name('nobody'), id: '1', require_alias: true, body: {} }))
  await call('get', () => client.get({ index: books, id: '1' }))
  await call('get some of it', () => client.get({ index: books, id: '1', _source_includes: ['title', 'reviews.by'] }))
  await call('get with a routing', () => client.get({ index: books, id: 'r', routing: 'poland' }))
  await fails('get what is missing', () => client.get({ index: books, id: '99' }))
  await fails('get from a missing index', () => client.get({ index: films, id: '1' }))
  await step('a missing document, ignored', () => body(client.get({ index: books, id: '99' }, { ignore: [404] })))
  await call('get the source', () => client.getSource({ index: books, id: '1' }))
  await fails('get the source of what is missing', () => client.getSource({ index: books, id: '99' }))
  await call('exists', () => client.exists({ index: books, id: '1' }))
  await call('does not exist', () => client.exists({ index: books, id: '99' }))
  await call('update', () => client.update({ index: books, id: '1', body: { doc: { pages: 304 } }, retry_on_conflict: 2, _source: true }))
  await call('update that changes nothing', () => client.update({ index: books, id: '1', body: { doc: { pages: 304 } } }))
  await fails('update what is missing', () => client.update({ index: books, id: '99', body: { doc: { pages: 1 } } }))
  await call('upsert', () => client.update({ index: books, id: 'u', body: { doc: { pages: 2 }, upsert: { title: 'Upserted' } } }))
  await call('upsert by the document', () => client.update({ index: books, id: 'v', body: { doc: { title: 'Upserted too' }, doc_as_upsert: true } }))
  await call('delete', () => client.delete({ index: books, id: 'v' }))
  await fails('delete what is missing', () => client.delete({ index: books, id: 'v' }))

  await call('bulk with mixed results', () => client.bulk({
    refresh: true,
    body: [
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
  await call('bulk below an index', () => client.bulk({ index: books, body: [{ delete: { _id: 'x' } }, { delete: { _id: 'r', routing: 'poland' } }, { index: { _id: 'd' } }, { title: 'Draft' }], refresh: 'true' }))
  await call('read many', () => client.mget({ body: { docs: [{ _index: books, _id: '1', _source: ['title'] }, { _index: books, _id: '99' }, { _index: films, _id: '1' }] } }))
  await call('read many of one index', () => client.mget({ index: books, body: { ids: ['1', '3', '99'] }, _source: 'author' }))

  const search = (what, body, more) => call('search ' + what, () => client.search({ index: books, body, ...more }))
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
  await fails('search with a wrong query', () => client.search({ index: books, body: { query: { nonsense: {} } } }))
  await fails('search sorted by a text', () => client.search({ index: books, body: { sort: ['title'] } }))
  await fails('search in a missing index', () => client.search({ index: films, body: {} }))
  await call('search in a missing index, allowed', () => client.search({ index: [films, books], ignore_unavailable: true, size: 0 }))
  await call('count', () => client.count({ index: books, body: { query: { term: { author: 'lem' } } } }))
  await step('explain', async () => {
    const { body: { explanation, ...rest } } = await client.explain({ index: books, id: '1', body: { query: { match: { title: 'darkness' } } } })
    return rest
  })
  await call('validate a query', () => client.indices.validateQuery({ index: books, body: { query: { term: { author: 'lem' } } } }))
  await call('field capabilities', () => client.fieldCaps({ index: books, fields: ['title', 'year', 'unknown'] }))
  await call('several searches', () => client.msearch({
    body: [{ index: books }, { query: { term: { author: 'lem' } }, sort: ['year'], _source: ['title'] }, { index: films }, { query: { match_all: {} } }, { index: books }, { query: { term: { tags: 'magic' } }, size: 0 }]
  }))
  await step('term vectors', async () => {
    const { body: { took, ...rest } } = await client.termvectors({ index: books, id: '3', body: { fields: ['title'], field_statistics: false } })
    return rest
  })

  // The helpers of the library.
  await call('an index of events', () => client.indices.create({ index: events, body: { settings: { number_of_shards: 2, number_of_replicas: 0 }, mappings: { properties: { word: { type: 'keyword' }, at: { type: 'date' } } } } }))
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
    for await (const page of client.helpers.scrollSearch({ index: events, size: 500, body: { query: { range: { number: { gte: 10 } } }, sort: ['number'] } })) {
      pages.push({ documents: page.documents.length, first: page.documents[0], total: page.body.hits.total, hit: page.body.hits.hits[0] })
    }
    return pages
  })
  await step('helper scrollDocuments', async () => {
    let sum = 0
    let n = 0
    for await (const d of client.helpers.scrollDocuments({ index: events, size: 300, body: { query: { term: { word: 'amber' } } } })) {
      n++
      sum += d.number
    }
    return { n, sum }
  })
  await step('helper search', () => client.helpers.search({ index: books, body: { query: { term: { author: 'lem' } }, sort: ['year'] } }))
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
    let { body: page } = await client.search({ index: events, scroll: '1m', size: 400, body: { sort: ['_doc'] } })
    let last
    while (page.hits.hits.length > 0) {
      page.hits.hits.forEach(h => seen.add(h._id))
      last = page._scroll_id
      page = (await client.scroll({ body: { scroll_id: last, scroll: '1m' } })).body
    }
    const { body: { succeeded }, statusCode } = await client.clearScroll({ body: { scroll_id: [last] } })
    return { seen: seen.size, succeeded, statusCode, total: page.hits.total }
  })
  await call('aggregate the list', () => client.search({ index: events, size: 0, body: { aggs: { days: { date_histogram: { field: 'at', fixed_interval: '10d' }, aggs: { words: { terms: { field: 'word', size: 2 } } } } } } }))
  await call('page through buckets', () => client.search({ index: events, size: 0, body: { aggs: { by: { composite: { size: 3, after: { word: 'birch' }, sources: [{ word: { terms: { field: 'word' } } }] } } } } }))
  await call('delete by query', () => client.deleteByQuery({ index: events, body: { query: { range: { number: { lt: 100 } } } }, refresh: true, scroll_size: 50 }))
  await call('update by query', () => client.updateByQuery({ index: events, body: { query: { range: { number: { lt: 150 } } } }, refresh: true, conflicts: 'proceed', max_docs: 20 }))
  await call('reindex', () => client.reindex({ refresh: true, body: { max_docs: 100, source: { index: events, query: { term: { word: 'amber' } } }, dest: { index: name('ambers') } } }))
  await step('count the copies', async () => (await client.count({ index: name('ambers') })).body.count)
  await step('reindex in the background', async () => {
    const { body: { task } } = await client.reindex({ wait_for_completion: false, body: { source: { index: events, query: { term: { word: 'birch' } } }, dest: { index: name('copies') } } })
    for (let i = 0; i < 1200; i++) {
      const { body } = await client.tasks.get({ task_id: task })
      if (body.completed) return { created: body.response.created, failures: body.response.failures, total: body.task.status.total }
      await new Promise(resolve => setTimeout(resolve, 100))
    }
    throw new Error('the task does not end')
  })

  await call('move an alias', () => client.indices.updateAliases({ body: { actions: [{ remove: { index: books, alias: name('library') } }, { add: { index: books, alias: name('lem'), filter: { term: { author: 'lem' } } } }] } }))
  await call('put an alias', () => client.indices.putAlias({ index: events, name: name('log'), body: { routing: '1' } }))
  await call('read the aliases', () => client.indices.getAlias({ index: [books, events] }))
  await fails('read a missing alias', () => client.indices.getAlias({ name: name('nobody') }))
  await call('an alias exists', () => client.indices.existsAlias({ name: name('lem') }))
  await call('search through the alias', () => client.search({ index: name('lem'), sort: 'year', _source: ['title'] }))
  await call('delete an alias', () => client.indices.deleteAlias({ index: events, name: name('log') }))
  await call('put a template', () => client.indices.putTemplate({
    name: name('logs'),
    body: { index_patterns: [name('logs-*')], order: 2, settings: { number_of_shards: 1 }, mappings: { properties: { level: { type: 'keyword' } } }, aliases: { [name('all-logs')]: {} } }
  }))
  await call('read the template', () => client.indices.getTemplate({ name: name('logs') }))
  await call('an index by the template', () => client.index({ index: name('logs-1'), id: '1', body: { level: 'warn', text: 'low on memory' }, refresh: true }))
  await call('its mapping', () => client.indices.getMapping({ index: name('logs-1') }))
  await call('search its alias', () => client.search({ index: name('all-logs'), q: 'level:warn' }))
  await call('delete the template', () => client.indices.deleteTemplate({ name: name('logs') }))
  await fails('read the missing template', () => client.indices.getTemplate({ name: name('logs') }))
  await call('put a composable template', () => client.indices.putIndexTemplate({
    name: name('traces'),
    body: { index_patterns: [name('traces-*')], priority: 700, template: { settings: { number_of_shards: 1 }, mappings: { properties: { span: { type: 'keyword' } } }, aliases: { [name('all-traces')]: {} } } }
  }))
  await call('read the composable template', () => client.indices.getIndexTemplate({ name: name('traces') }))
  await call('the composable template exists', () => client.indices.existsIndexTemplate({ name: name('traces') }))
  await call('an index by the composable template', () => client.index({ index: name('traces-1'), id: '1', body: { span: 'a' }, refresh: true }))
  await call('its mapping, too', () => client.indices.getMapping({ index: name('traces-1') }))
  await call('delete the composable template', () => client.indices.deleteIndexTemplate({ name: name('traces') }))
  await fails('read the missing composable template', () => client.indices.getIndexTemplate({ name: name('traces') }))
  await call('put a pipeline', () => client.ingest.putPipeline({ id: name('nothing'), body: { description: 'does nothing', processors: [] } }))
  await call('read the pipeline', () => client.ingest.getPipeline({ id: name('nothing') }))
  await call('index through the pipeline', () => client.index({ index: name('logs-1'), id: '2', pipeline: name('nothing'), body: { level: 'info' } }))
  await call('delete the pipeline', () => client.ingest.deletePipeline({ id: name('nothing') }))
  await step('search in a point in time', async () => {
    const { body: { id } } = await client.openPointInTime({ index: books, keep_alive: '1m' })
    const { body: found } = await client.search({ body: { pit: { id, keep_alive: '1m' }, sort: [{ year: 'asc' }], size: 2, query: { exists: { field: 'author' } } } })
    const { body: next } = await client.search({ body: { pit: { id: found.pit_id, keep_alive: '1m' }, sort: [{ year: 'asc' }], size: 2, query: { exists: { field: 'author' } }, search_after: found.hits.hits[1].sort } })
    const { body: closed } = await client.closePointInTime({ body: { id: next.pit_id } })
    return { ids: [found, next].map(r => r.hits.hits.map(h => h._id)), total: found.hits.total, succeeded: closed.succeeded }
  })

  await call('refresh', () => client.indices.refresh({ index: books }))
  await call('flush', () => client.indices.flush({ index: books }))
  await call('merge', () => client.indices.forcemerge({ index: books, max_num_segments: 1 }))
  await step('search for a spelling', async () => {
    const { body: { suggest: { spelling: [found] } } } = await client.search({ index: books, size: 0, body: { suggest: { spelling: { text: 'darknes', term: { field: 'title' } } } } })
    return { ...found, options: found.options.map(o => [o.text, typeof o.score]) }
  })
  await search('with suggestions', { size: 0, suggest: { names: { prefix: 'sol', completion: { field: 'suggest' } } } })
  await step('statistics', async () => {
    const { body: { _all: all, indices } } = await client.indices.stats({ index: books, metric: 'docs' })
    return { count: all.primaries.docs.count, indices: Object.keys(indices), docs: indices[books].primaries.docs.count }
  })
  await call('cat indices', () => client.cat.indices({ index: books, h: 'index,health,status,docs.count,rep' }))
  await call('cat indices as JSON', () => client.cat.indices({ index: books, format: 'json', h: ['index', 'status'] }))
  await call('cat aliases', () => client.cat.aliases({ name: name('*'), s: 'alias', h: 'alias,index,filter,is_write_index' }))
  await call('cat count', () => client.cat.count({ index: books, h: 'count' }))
  await call('close', () => client.indices.close({ index: books }))
  await fails('search in the closed index', () => client.search({ index: books }))
  await step('open', async () => {
    const opened = await body(client.indices.open({ index: books }))
    await client.cluster.health({ index: books, wait_for_status: 'yellow' })
    return opened
  })
  await step('the state', async () => {
    const { body: { metadata } } = await client.cluster.state({ metric: 'metadata', index: name('logs-1') })
    const index = metadata.indices[name('logs-1')]
    return { mappings: index.mappings, state: index.state, aliases: index.aliases }
  })
  await step('sniff', async () => {
    const sniffing = new Client({ node: url, sniffOnStart: false })
    const hosts = await new Promise((resolve, reject) => sniffing.transport.sniff({ reason: 'asked' }, (e, hosts) => e ? reject(e) : resolve(hosts)))
    const { body } = await sniffing.count({ index: books })
    sniffing.close()
    return { hosts: hosts.map(h => ({ address: String(h.url), roles: { ingest: h.roles.ingest, data: h.roles.data, master: h.roles.master } })), body }
  })

  await call('delete the copies', () => client.indices.delete({ index: [name('ambers'), name('copies')] }))
  await fails('delete a missing index', () => client.indices.delete({ index: films }))
  await call('delete the indices', () => client.indices.delete({ index: [books, events, name('logs-1'), name('traces-1')] }))
}

main().then(() => client.close(), e => { console.error(e); process.exit(1) })
