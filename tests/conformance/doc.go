// Package conformance runs Elasticsearch's own REST tests: those of one major as
// its clients would send them, through the gateway, on a cluster of each other
// major.
//
// The tests come from Maven (harness.RESTSpec): 5.6.4's, 6.6.0's and 7.10.2's,
// and for 8, of which there are none, those of 7.10.2 made typeless (typeless.go)
// and sent with the media type of 8.x. Two lists say what does not pass:
//
//   - home/5.txt: tests of 5 that do not pass on a cluster of 5 either. They are
//     not run on other clusters.
//   - expected/5-8.txt: tests of 5 that do not pass on 8, each with its reason.
//     Those that 8, or the 8.x of the tests, cannot pass (cannot), and those whose
//     result is not determined (varies), are not counted; those that could pass
//     (open) count as failures.
//
// A test that fails without standing in its list, and one that passes although it
// does, make the run fail.
//
// To see what a failure is about, with what the client sent, what was sent to the
// cluster, and both answers:
//
//	go run ./tests/harness/cmd/clusters exec -- go test ./tests/conformance -pair '5->8' -test 'search/.*highlight' -v
//
// -listed runs only the tests that stand in the lists, to see which of them pass
// by now. To bring the lists up to date, add -rewrite-expected, and read what it wrote:
// new failures are open, unless the gateway refused the request or the cluster
// lacks a module (draft.go). make conformance runs everything and writes the
// figures for the documentation; make test runs one test of ten.
package conformance
