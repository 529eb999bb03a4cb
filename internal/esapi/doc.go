// Package esapi says what an Elasticsearch REST request is: which API it calls
// (Endpoint), its parameters, the lines of a bulk, the shape of an error, and
// versions. It knows no policy: nothing here decides what is translated,
// replicated or refused.
package esapi
