// Package harness runs real Elasticsearch and Kafka for tests, the demo and
// benchmarks. Everything comes out of Maven artifacts, so nothing has to be
// installed but a JDK (17 to 23) and Maven.
//
// It promises:
//
//   - A cluster that is returned answers requests. One that does not come up
//     gives an error with the end of its log.
//   - Processes end with the process that started them, however that one ends:
//     a watchdog kills them and removes their temporary folder.
//   - Nothing runs as root: started by root, Elasticsearch and Kafka run as the
//     user 65534 (nobody).
//   - Tests of one run share clusters. Under "go run ./tests/harness/cmd/clusters
//     exec -- go test ./..." each is started at most once for all packages;
//     without it, once per package.
//   - Tests that need real clusters call Real first and are skipped unless
//     ESPERANTO_REAL=1, so that "go test ./..." stays fast.
//
// Start with [Elasticsearch] and [Kafka] for shared ones, and with
// [StartElasticsearch] and [StartKafka] for some of your own that may be
// killed, frozen and started again.
package harness
