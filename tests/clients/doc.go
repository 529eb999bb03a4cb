// Package clients proves that applications notice nothing: real client
// libraries, their own helpers included, do a day's work of an application on a
// real cluster of the major they were written for, and once more through the
// gateway on clusters of other majors. What the libraries hand to the application
// has to be equal, step by step; home is the oracle.
//
// Each client is a program in a folder of its own, which is called with the
// address and a prefix for all names it makes. It prints a line of JSON per step,
//
//	{"step": "get a document", "result": …}
//
// or, where the library failed and the step did not expect it, "failed" instead
// of "result", which no program may say at home. The table of the clients is in
// table_test.go, what is not compared and why in compare_test.go. Steps that
// differ for a known reason stand in expected.txt; one that agrees again fails the
// test.
//
//	go run ./tests/harness/cmd/clusters exec -- go test -v ./tests/clients
//	go run ./tests/harness/cmd/clusters exec -- go test -v ./tests/clients -run 'TestClients/python-5' -show 'scan'
package clients
