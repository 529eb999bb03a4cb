// Package translate turns requests of one Elasticsearch version into requests
// of another, and the answers back. It promises: what no change of the
// catalogue concerns goes through byte for byte, numbers keep their text and
// keys their order, and a request that cannot be carried over is refused with
// an error in the client's own shape, never guessed.
//
// The words: a Change is one difference between versions. Its rules are bound to
// a Place, a kind of JSON node such as Hit or Query, never to a path. A Plan
// holds the rules that a pair of versions needs, grouped by place. The walker
// visits a body once and runs the rules of each place on one small Node.
//
// The changes themselves are in package catalogue, which registers them.
package translate
