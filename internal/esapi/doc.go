// Package esapi says what an Elasticsearch REST request is, in any version from
// 5.0 to 8.17: which API it calls (Endpoint, read and written with the route
// table in routes.go), its parameters, the lines of a bulk and of an msearch,
// the shape of an error, the form of an answer (filter_path, pretty, YAML), and
// versions. Request, Response and Sender are how the other packages hand
// requests on.
//
// It states facts and knows no policy: nothing here decides what is translated,
// replicated or refused. Row names such as HTTP-13 are those of
// docs/differences.md.
//
// Tests that begin with TestRoutesOfReal and TestOutputOfReal compare these
// facts with real clusters.
package esapi
