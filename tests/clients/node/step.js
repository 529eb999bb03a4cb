'use strict'

// What the programs have in common: a step is one call, or a few that belong
// together; it prints one line of JSON with what the application got.

// steps returns the two functions that run a step: step for one that succeeds,
// fails for one that has to fail. describe makes of the library's errors what is
// to be compared, and nothing of others.
exports.steps = describe => {
  const tell = (step, more) => process.stdout.write(JSON.stringify({ step, ...more }) + '\n')
  const told = e => describe(e) || { name: e.name, message: e.message, stack: e.stack }
  return {
    step: async (name, run) => {
      try {
        const result = await run()
        tell(name, { result: result === undefined ? null : result })
      } catch (e) {
        tell(name, { failed: told(e) })
      }
    },
    fails: async (name, run) => {
      try {
        tell(name, { failed: { succeeded: await run() } })
      } catch (e) {
        tell(name, { [describe(e) ? 'result' : 'failed']: told(e) })
      }
    }
  }
}

// withoutCauses leaves out of an answer what caused an error: these are Java's
// exceptions behind the one that the answer is about.
exports.withoutCauses = answer => {
  const body = answer && answer.error && typeof answer.error === 'object' ? { ...answer, error: { ...answer.error } } : answer
  if (body !== answer) delete body.error.caused_by
  return body
}

// words fill the documents of the long list.
const words = ['amber', 'birch', 'cedar', 'delta', 'ember', 'fjord', 'grove']

// event is document number n of the long list.
exports.event = n => ({
  number: n,
  word: words[n % words.length],
  text: `${words[n % words.length]} and ${words[(n * 3 + 1) % words.length]}`,
  at: new Date(Date.UTC(2020, 0, 1) + n * 3600e3).toISOString(),
  value: n * 37 % 101 + 0.5
})

exports.range = n => Array.from({ length: n }, (_, i) => i)

// shelf are the documents that are searched.
exports.shelf = [
  { title: 'The Left Hand of Darkness', author: 'le guin', year: 1969, price: 8.5, tags: ['winter', 'envoy'], published: '1969-03-01', place: { lat: 45.5, lon: -122.6 }, reviews: [{ by: 'ann', stars: 5 }, { by: 'bob', stars: 3 }] },
  { title: 'A Wizard of Earthsea', author: 'le guin', year: 1968, price: 6, tags: ['island', 'magic'], published: '1968-11-05', place: { lat: 45.5, lon: -122.6 }, reviews: [{ by: 'cid', stars: 4 }] },
  { title: 'Solaris', author: 'lem', year: 1961, price: 7.25, tags: ['ocean'], published: '1961-06-01', place: { lat: 50.06, lon: 19.94 }, reviews: [] },
  { title: 'The Cyberiad', author: 'lem', year: 1965, price: 9, tags: ['robot', 'magic'], published: '1965-01-20', place: { lat: 50.06, lon: 19.94 }, reviews: [{ by: 'ann', stars: 4 }, { by: 'dee', stars: 5 }] },
  { title: 'Roadside Picnic', author: 'strugatsky', year: 1972, price: 5.75, tags: ['zone'], published: '1972-07-15', place: { lat: 59.93, lon: 30.33 }, reviews: [{ by: 'bob', stars: 2 }] }
]

// properties are the mapping of the books.
exports.properties = {
  title: { type: 'text', analyzer: 'titles', fields: { raw: { type: 'keyword', ignore_above: 100 } } },
  author: { type: 'keyword' },
  year: { type: 'integer' },
  price: { type: 'double' },
  tags: { type: 'keyword' },
  published: { type: 'date', format: 'yyyy-MM-dd' },
  place: { type: 'geo_point' },
  suggest: { type: 'completion' },
  reviews: { type: 'nested', properties: { by: { type: 'keyword' }, stars: { type: 'byte' } } }
}

exports.analysis = {
  filter: { small: { type: 'stop', stopwords: ['the', 'of', 'a'] } },
  analyzer: { titles: { type: 'custom', tokenizer: 'standard', filter: ['lowercase', 'small'] } }
}
