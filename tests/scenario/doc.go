// Package scenario proves the fidelity of the translation: what an application
// of one major does every day is done once at home, on a real cluster of that
// major, and once through the gateway on a real cluster of each other major. The
// answers have to be equal; home is the oracle, so no step says what to expect.
//
// The steps are in steps/*.steps, one file per subject, each file complete in
// itself. How they are written is told in parse_test.go, what is not compared and
// why in compare_test.go. Steps that differ for a reason that is known stand in
// expected.txt; a step there that agrees again fails the test.
//
//	go run ./tests/harness/cmd/clusters exec -- go test -v ./tests/scenario
//	go run ./tests/harness/cmd/clusters exec -- go test -v ./tests/scenario -pair '5->8' -step 'search/highlight'
//
// With -v it ends with a table of the twelve pairs; with -v and -step each step
// that differs is shown with its request and both answers.
package scenario
