// Package bench measures. Its benchmarks compare with something done in the same
// run and report the ratio, for a time alone says nothing on a shared machine:
//
//	go test -run XXX -bench . ./tests/bench
//
// (make bench runs tests/bench/speed behind them.)
//
// What is expected of the translation, for each of the twelve pairs of majors:
//
//   - BenchmarkSearchAnswer (an answer of 12 MB) and BenchmarkBulk (a request of 10
//     MB): "x-copy" is below 2. It is the processors' time as a multiple of that for
//     copying the same bytes and validating them with gjson. A processor that others
//     keep busy hardly changes it; run again what is above.
//   - BenchmarkBulkAnswer (the items for such a bulk, 1.6 MB): "x-copy" is below 1, as
//     items of a kind go through the rules once. Items that are all of their own kind,
//     such as errors, take 4 to 9: one is of 190 bytes, and rules weigh more than to copy it.
//   - BenchmarkPlan (all twelve plans): some milliseconds. A gateway makes its plan
//     once.
//
// The other two promises do not depend on the machine; they are tests and part of
// make test: TestMemoryWindow (an answer of 36 MB takes less than 1 MB of memory) and
// TestAllocations (at most six for a hit and six for a document of a bulk).
package bench
