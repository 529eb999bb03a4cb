// Package conformance runs Elasticsearch's own REST tests: those of one major as
// its clients would send them, through the gateway, on a cluster of each other
// major.
//
// The tests come from Maven (harness.RESTSpec): 5.6.4's, 6.6.0's and 7.10.2's,
// and for 8, of which there are none, those of 7.10.2 made typeless (typeless.go).
// A suite is first run at home, straight on a cluster of its own major; home/*.txt
// lists the tests that do not pass there. Through the gateway the others have to
// pass; expected/*.txt lists those that do not, each with its reason.
//
//	go run ./tests/harness/cmd/clusters exec -- go test ./tests/conformance -pair '5->8' -test 'search/.*highlight' -v
//
// shows for each test that fails what the client sent, what was sent to the
// cluster, both answers, and what was expected instead.
package conformance
