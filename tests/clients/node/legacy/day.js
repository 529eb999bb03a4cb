'use strict'

// The client of before 2019, "elasticsearch", as an application of 5.6 or 6.8
// uses it: node day.js <5.6|6.8> <url> <prefix>.

const { Client, errors } = require('elasticsearch')
const { steps, withoutCauses, event, range, shelf, properties, analysis } = require('../step.js')

const [apiVersion, url, prefix] = process.argv.slice(2)
const name = n => prefix + n
const [books, events, films] = ['books', 'events', 'films'].map(name)
const five = apiVersion === '5.6'
const key = five ? '_term' : '_key'
const type = five ? 'book' : '_doc'
const client = new Client({ host: url, apiVersion, log: [], requestTimeout: 30000 })

// Of an error the library tells its class, the status and the answer.
const { step, fails } = steps(e => e instanceof errors._Abstract && {
  class: e.constructor.name,
  displayName: e.displayName,
  status: e.status,
  body: withoutCauses(e.body)
})

async function main () {
  await step('ping', () => client.ping())
  await step('info', () => client.info())

  await step('create an index', () => client.indices.create({
    index: books,
    body: {
      settings: { number_of_shards: 1, number_of_replicas: 0, analysis },
      mappings: { [type]: { properties } },
      aliases: { [name('library')]: {} }
    }
  }))
  await fails('create it again', () => client.indices.create({ index: books }))
  await fails('create one with a wrong mapping', () => client.indices.create({ index: name('wrong'), body: { mappings: { [type]: { properties: { a: { type: 'nonsense' } } } } } }))
  await step('index exists', () => client.indices.exists({ index: books }))
  await step('index does not exist', () => client.indices.exists({ index: films }))
  await step('type exists', () => client.indices.existsType({ index: books, type }))
  await step('another type does not exist', () => client.indices.existsType({ index: books, type: 'film' }))
  await step('get the index', () => client.indices.get({ index: books }))
  await step('get the mapping', () => client.indices.getMapping({ index: books, type }))
  await step('get the mapping of all types', () => client.indices.getMapping({ index: books }))
  await step('get the mapping of a field', () => client.indices.getFieldMapping({ index: books, type, fields: 'title,author' }))
  await step('get the settings', () => client.indices.getSettings({ index: books }))
  await step('put a mapping', () => client.indices.putMapping({ index: books, type, body: { properties: { isbn: { type: 'keyword' }, pages: { type: 'long' } } } }))
  await fails('put a conflicting mapping', () => client.indices.putMapping({ index: books, type, body: { properties: { isbn: { type: 'long' } } } }))
  await step('put a setting', () => client.indices.putSettings({ index: books, body: { index: { refresh_interval: '5s' } } }))
  await step('get a setting', () => client.indices.getSettings({ index: books, name: 'index.refresh_interval' }))
  await step('analyze', () => client.indices.analyze({ index: books, body: { analyzer: 'titles', text: 'The Name of the Rose' } }))

  await step('index', () => client.index({ index: books, type, id: '1', body: shelf[0] }))
  await step('index again', () => client.index({ index: books, type, id: '1', body: shelf[0] }))
  await step('create', () => client.create({ index: books, type, id: '2', body: shelf[1], refresh: 'wait_for' }))
  await fails('create what exists', () => client.create({ index: books, type, id: '2', body: shelf[1] }))
  await step('index with a routing', () => client.index({ index: books, type, id: 'r', routing: 'poland', refresh: true, body: { title: 'Fiasco' } }))
  await step('index without an id', async () => {
    const { _id, ...rest } = await client.index({ index: books, type, body: { title: 'Anonymous' } })
    return { length: _id.length, ...rest, deleted: (await client.delete({ index: books, type, id: _id })).result }
  })
  await fails('index malformed', () => client.index({ index: books, type, id: 'm', body: { year: 'none' } }))
  await fails('index an older version', () => client.index({ index: books, type, id: '2', version: 7, body: shelf[1] }))
  await step('index with the right version', () => client.index({ index: books, type, id: '2', version: 1, body: shelf[1] }))
  await step('index with an external version', () => client.index({ index: books, type, id: 'x', version: 40, versionType: 'external', body: { title: 'External' } }))
  await fails('index with an older external version', () => client.index({ index: books, type, id: 'x', version: 39, versionType: 'external', body: { title: 'External' } }))
  await step('get', () => client.get({ index: books, type, id: '1' }))
  await step('get some of it', () => client.get({ index: books, type, id: '1', [five ? '_sourceInclude' : '_sourceIncludes']: ['title', 'reviews.by'] }))
  await step('get with a routing', () => client.get({ index: books, type, id: 'r', routing: 'poland' }))
  await step('get of any type', () => client.get({ index: books, type: '_all', id: '1' }))
  await fails('get what is missing', () => client.get({ index: books, type, id: '99' }))
  await fails('get from a missing index', () => client.get({ index: films, type, id: '1' }))
  await step('a missing document, ignored', () => client.get({ index: books, type, id: '99', ignore: 404 }))
  await step('get the source', () => client.getSource({ index: books, type, id: '1' }))
  await step('exists', () => client.exists({ index: books, type, id: '1' }))
  await step('does not exist', () => client.exists({ index: books, type, id: '99' }))
  await step('update', () => client.update({ index: books, type, id: '1', body: { doc: { pages: 304 } }, retryOnConflict: 2, _source: true }))
  await step('update that changes nothing', () => client.update({ index: books, type, id: '1', body: { doc: { pages: 304 } } }))
  await fails('update what is missing', () => client.update({ index: books, type, id: '99', body: { doc: { pages: 1 } } }))
  await step('upsert', () => client.update({ index: books, type, id: 'u', body: { doc: { pages: 2 }, upsert: { title: 'Upserted' } } }))
  await step('upsert by the document', () => client.update({ index: books, type, id: 'v', body: { doc: { title: 'Upserted too' }, doc_as_upsert: true } }))
  await step('delete', () => client.delete({ index: books, type, id: 'v' }))
  await fails('delete what is missing', () => client.delete({ index: books, type, id: 'v' }))

  await step('bulk with mixed results', () => client.bulk({
    refresh: true,
    body: [
      { index: { _index: books, _type: type, _id: '1' } }, { ...shelf[0], pages: 304, suggest: ['left hand', 'darkness'] },
      { create: { _index: books, _type: type, _id: '2' } }, shelf[1],
      { index: { _index: books, _type: type, _id: '3' } }, { ...shelf[2], suggest: { input: ['solaris'], weight: 3 } },
      { index: { _index: books, _type: type, _id: '4' } }, shelf[3],
      { index: { _index: books, _type: type, _id: '5' } }, shelf[4],
      { index: { _index: books, _type: type, _id: '6' } }, { year: 'none' },
      { update: { _index: books, _type: type, _id: '3' } }, { doc: { pages: 204 } },
      { update: { _index: books, _type: type, _id: '98' } }, { doc: { pages: 204 } },
      { delete: { _index: books, _type: type, _id: 'u' } },
      { delete: { _index: books, _type: type, _id: '97' } }
    ]
  }))
  await step('bulk below an index and a type', () => client.bulk({ index: books, type, body: [{ delete: { _id: 'x' } }, { delete: { _id: 'r', routing: 'poland' } }, { index: { _id: 'd' } }, { title: 'Draft' }], refresh: 'true' }))
  await step('read many', () => client.mget({ body: { docs: [{ _index: books, _type: type, _id: '1', _source: ['title'] }, { _index: books, _type: type, _id: '99' }, { _index: films, _type: type, _id: '1' }] } }))
  await step('read many of one type', () => client.mget({ index: books, type, body: { ids: ['1', '3', '99'] }, _source: 'author' }))

  const search = (what, body, more) => step('search ' + what, () => client.search({ index: books, type, body, ...more }))
  await search('everything', { query: { match_all: {} }, sort: [{ year: 'asc' }] })
  await search('match with a highlight', { query: { match: { title: 'darkness' } }, highlight: { fields: { title: {} } } })
  await search('bool', { query: { bool: { must: { match: { author: 'lem' } }, filter: [{ range: { year: { gte: 1965, lt: 1970 } } }], must_not: { term: { tags: 'zone' } }, should: [{ terms: { tags: ['magic', 'robot'] } }] } }, _source: ['title', 'year'] })
  await search('of a page', { query: { exists: { field: 'author' } }, sort: [{ author: { order: 'desc' } }, { year: { order: 'asc' } }], from: 1, size: 2, _source: false })
  await search('after a hit', { query: { exists: { field: 'author' } }, sort: ['year'], search_after: [1965], size: 2 })
  await search('nested', { query: { nested: { path: 'reviews', query: { range: { 'reviews.stars': { gte: 4 } } }, inner_hits: { sort: [{ 'reviews.stars': 'desc' }] } } }, sort: ['year'], version: true })
  await search('collapsed', { query: { exists: { field: 'author' } }, collapse: { field: 'author' }, sort: ['year'] })
  await search('by its id', { query: { ids: { type, values: ['1', '4'] } }, sort: ['year'] })
  await search('by a string', undefined, { q: 'author:lem', sort: 'year:desc', size: 1 })
  await search('near a place', { query: { geo_distance: { distance: '100km', place: '50,20' } }, sort: [{ _geo_distance: { place: [20, 50], unit: 'km', order: 'asc' } }, 'year'], _source: ['title'] })
  await search('scored', { query: { function_score: { query: { exists: { field: 'author' } }, functions: [{ filter: { term: { author: 'lem' } }, weight: 5 }], boost_mode: 'replace' } }, sort: ['_score', 'year'], explain: false, track_scores: true })
  await search('doc values and stored fields', { query: { term: { author: 'lem' } }, docvalue_fields: ['year', 'published'], stored_fields: '_none_', sort: ['year'] })
  await search('with aggregations', {
    size: 0,
    aggs: {
      authors: { terms: { field: 'author', order: { [key]: 'asc' } }, aggs: { prices: { stats: { field: 'price' } }, best: { top_hits: { size: 1, sort: [{ year: 'desc' }], _source: ['title'] } } } },
      decades: { histogram: { field: 'year', interval: 10, min_doc_count: 1 } },
      years: { date_histogram: { field: 'published', interval: 'year', format: 'yyyy', min_doc_count: 1 } },
      tags: { cardinality: { field: 'tags' } },
      cheap: { filter: { range: { price: { lt: 7 } } }, aggs: { n: { value_count: { field: 'price' } } } },
      reviews: { nested: { path: 'reviews' }, aggs: { stars: { avg: { field: 'reviews.stars' } }, by: { terms: { field: 'reviews.by', size: 2, order: { [key]: 'asc' } } } } },
      percentiles: { percentiles: { field: 'price', percents: [50] } },
      ranges: { range: { field: 'price', ranges: [{ to: 7 }, { from: 7, key: 'dear' }] } },
      empty: { max: { field: 'unknown' } }
    }
  })
  await fails('search with a wrong query', () => client.search({ index: books, body: { query: { nonsense: {} } } }))
  await fails('search sorted by a text', () => client.search({ index: books, body: { sort: ['title'] } }))
  await fails('search in a missing index', () => client.search({ index: films, body: {} }))
  await step('search in a missing index, allowed', () => client.search({ index: [films, books], ignoreUnavailable: true, size: 0 }))
  await step('search everywhere', () => client.search({ index: [books, name('library')], q: 'solaris', _source: 'title' }))
  await step('count', () => client.count({ index: books, type, body: { query: { term: { author: 'lem' } } } }))
  await step('explain', async () => {
    const { matched, _index, _type, _id } = await client.explain({ index: books, type, id: '1', body: { query: { match: { title: 'darkness' } } } })
    return { matched, _index, _type, _id }
  })
  await step('validate a query', () => client.indices.validateQuery({ index: books, body: { query: { nonsense: {} } } }))
  await step('several searches', () => client.msearch({
    index: books,
    body: [{ index: books, type }, { query: { term: { author: 'lem' } }, sort: ['year'], _source: ['title'] }, { index: films }, { query: { match_all: {} } }, {}, { query: { term: { tags: 'magic' } }, size: 0 }]
  }))
  await step('term vectors', async () => {
    const { term_vectors: vectors, found, _type } = await client.termvectors({ index: books, type, id: '3', body: { fields: ['title'], field_statistics: false } })
    return { found, _type, vectors }
  })

  await step('fill the long list', async () => {
    await client.indices.create({ index: events, body: { settings: { number_of_shards: 2, number_of_replicas: 0 }, mappings: { event: { properties: { word: { type: 'keyword' }, at: { type: 'date' } } } } } })
    const counts = {}
    for (let from = 0; from < 1200; from += 400) {
      const body = range(400).flatMap(n => [{ index: { _index: events, _type: 'event', _id: String(from + n) } }, event(from + n)])
      const answer = await client.bulk({ body })
      for (const item of answer.items) counts[item.index.result + item.index.status + item.index._type] = (counts[item.index.result + item.index.status + item.index._type] || 0) + 1
    }
    return { counts, shards: (await client.indices.refresh({ index: events }))._shards }
  })
  await step('scroll', async () => {
    const seen = new Set()
    const pages = []
    let page = await client.search({ index: events, scroll: '1m', size: 500, body: { query: { range: { number: { gte: 10 } } }, sort: ['number'] } })
    let last
    while (page.hits.hits.length > 0) {
      page.hits.hits.forEach(h => seen.add(h._id))
      pages.push({ n: page.hits.hits.length, total: page.hits.total, first: page.hits.hits[0] })
      last = page._scroll_id
      page = await client.scroll({ scrollId: last, scroll: '1m' })
    }
    const { succeeded } = await client.clearScroll({ scrollId: last })
    return { seen: seen.size, pages, succeeded }
  })
  await fails('scroll with a scroll that is gone', () => client.scroll({ scrollId: 'DXF1ZXJ5QW5kRmV0Y2gBAAAAAAAAAAEWa2l0dGVu', scroll: '1m' }))
  await step('aggregate the list', () => client.search({ index: events, size: 0, body: { aggs: { days: { date_histogram: { field: 'at', interval: '10d' }, aggs: { words: { terms: { field: 'word', size: 2 } } } } } } }))
  await step('delete by query', () => client.deleteByQuery({ index: events, type: 'event', body: { query: { range: { number: { lt: 100 } } } }, refresh: true, scrollSize: 50 }))
  await step('update by query', () => client.updateByQuery({ index: events, body: { query: { range: { number: { lt: 150 } } } }, refresh: true, conflicts: 'proceed' }))
  await step('reindex', () => client.reindex({ refresh: true, body: { source: { index: events, query: { term: { word: 'amber' } } }, dest: { index: name('ambers') } } }))
  await step('count the copies', async () => (await client.count({ index: name('ambers') })).count)
  await step('the tasks', async () => Object.keys(await client.tasks.list({ actions: '*reindex' })))

  await step('move an alias', () => client.indices.updateAliases({ body: { actions: [{ remove: { index: books, alias: name('library') } }, { add: { index: books, alias: name('lem'), filter: { term: { author: 'lem' } } } }] } }))
  await step('put an alias', () => client.indices.putAlias({ index: events, name: name('log'), body: { routing: '1' } }))
  await step('read the aliases', () => client.indices.getAlias({ index: [books, events] }))
  await fails('read a missing alias', () => client.indices.getAlias({ name: name('nobody') }))
  await step('an alias exists', () => client.indices.existsAlias({ name: name('lem') }))
  await step('search through the alias', () => client.search({ index: name('lem'), sort: 'year', _source: ['title'] }))
  await step('delete an alias', () => client.indices.deleteAlias({ index: events, name: name('log') }))
  await step('put a template', () => client.indices.putTemplate({
    name: name('logs'),
    body: { [five ? 'template' : 'index_patterns']: five ? name('logs-*') : [name('logs-*')], order: 2, settings: { number_of_shards: 1 }, mappings: { line: { properties: { level: { type: 'keyword' } } } }, aliases: { [name('all-logs')]: {} } }
  }))
  await step('read the template', () => client.indices.getTemplate({ name: name('logs') }))
  await step('the template exists', () => client.indices.existsTemplate({ name: name('logs') }))
  await step('an index by the template', () => client.index({ index: name('logs-1'), type: 'line', id: '1', body: { level: 'warn', text: 'low on memory' }, refresh: true }))
  await step('its mapping', () => client.indices.getMapping({ index: name('logs-1') }))
  await step('search its alias', () => client.search({ index: name('all-logs'), type: 'line', q: 'level:warn' }))
  await step('delete the template', () => client.indices.deleteTemplate({ name: name('logs') }))
  await fails('read the missing template', () => client.indices.getTemplate({ name: name('logs') }))
  await step('put a pipeline', () => client.ingest.putPipeline({ id: name('nothing'), body: { description: 'does nothing', processors: [] } }))
  await step('read the pipeline', () => client.ingest.getPipeline({ id: name('nothing') }))
  await step('index through the pipeline', () => client.index({ index: name('logs-1'), type: 'line', id: '2', pipeline: name('nothing'), body: { level: 'info' } }))
  await step('delete the pipeline', () => client.ingest.deletePipeline({ id: name('nothing') }))

  await step('refresh', () => client.indices.refresh({ index: books }))
  await step('flush', () => client.indices.flush({ index: books }))
  await step('merge', () => client.indices.forcemerge({ index: books, maxNumSegments: 1 }))
  await step('search for a spelling', async () => {
    const { suggest: { spelling: [found] } } = await client.search({ index: books, size: 0, body: { suggest: { spelling: { text: 'darknes', term: { field: 'title' } } } } })
    return { ...found, options: found.options.map(o => [o.text, typeof o.score]) }
  })
  await search('with suggestions', { size: 0, suggest: { names: { prefix: 'sol', completion: { field: 'suggest' } } } })
  if (five) {
    await step('suggest', () => client.suggest({ index: books, body: { names: { prefix: 'left', completion: { field: 'suggest' } } } }))
  }
  await step('statistics', async () => {
    const { _all: all, indices } = await client.indices.stats({ index: books, metric: 'docs' })
    return { count: all.primaries.docs.count, indices: Object.keys(indices), docs: indices[books].primaries.docs.count }
  })
  await step('cat indices', () => client.cat.indices({ index: books, h: 'index,health,status,docs.count,rep' }))
  await step('cat indices as JSON', () => client.cat.indices({ index: books, format: 'json', h: ['index', 'status'] }))
  await step('cat aliases', () => client.cat.aliases({ name: name('*'), s: 'alias', h: 'alias,index,filter' }))
  await step('cat count', () => client.cat.count({ index: books, h: 'count' }))
  await step('close', () => client.indices.close({ index: books }))
  await fails('search in the closed index', () => client.search({ index: books }))
  await step('open', async () => {
    const opened = await client.indices.open({ index: books })
    await client.cluster.health({ index: books, waitForStatus: 'yellow' })
    return opened
  })
  await step('the state', async () => {
    const { metadata } = await client.cluster.state({ metric: 'metadata', index: name('logs-1') })
    return { types: Object.keys(metadata.indices[name('logs-1')].mappings), state: metadata.indices[name('logs-1')].state, aliases: metadata.indices[name('logs-1')].aliases }
  })
  await step('the nodes', async () => {
    const { nodes } = await client.nodes.info({ metric: 'http' })
    return Object.values(nodes).map(n => n.http.publish_address === new URL(url).host)
  })

  await step('sniff', async () => {
    const sniffing = new Client({ host: url, apiVersion, log: [], sniffOnStart: true })
    await new Promise((resolve, reject) => sniffing.transport.sniff(e => e ? reject(e) : resolve()))
    const hosts = sniffing.transport.connectionPool.getConnections(null, 10).map(c => c.host.makeUrl().replace(/\/$/, '') === url)
    const found = await sniffing.count({ index: books })
    sniffing.close()
    return { hosts, found }
  })

  await step('delete the copies', () => client.indices.delete({ index: name('ambers') }))
  await fails('delete a missing index', () => client.indices.delete({ index: films }))
  await step('delete the indices', () => client.indices.delete({ index: [books, events, name('logs-1')] }))
}

main().then(() => client.close(), e => { console.error(e); process.exit(1) })
