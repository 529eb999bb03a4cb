// Package bench measures. Its benchmarks compare with something done in the same
// run and report the ratio, for a time alone says nothing on a shared machine.
//
//	go test -bench . ./tests/bench
package bench
