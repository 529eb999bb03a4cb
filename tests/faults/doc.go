// Package faults breaks real parts while applications write, and checks after
// each fault that nothing is lost. The gateway is a process; Elasticsearch and
// Kafka are real.
//
// The writers (load_test.go) index, create, update by parts and by scripts, delete, choose
// versions themselves (external, external_gte), route, send bulks, leave ids to
// the cluster, write the same documents as others, and create documents again
// after the cluster has forgotten their deletion. A ledger keeps what each was
// told. A write without an answer may have happened: it is written again, or
// left alone, half of each.
//
// In the end the same list is checked each time (tests/check, Final): every
// acknowledged write is on both clusters with its source, version and routing;
// a write that was not acknowledged is on both or on none; no deleted document
// is there again; no dead letter that was not caused; offsets at the end, no
// open intent.
//
//	what is broken                                    test
//	the gateway, kill -9, journal embedded            TestGatewayKilled
//	one of two gateways, kill -9, journal in Kafka    TestOneOfTwoGatewaysKilled
//	the broker, kill -9; one of three, and all        TestBrokerKilled, TestThreeBrokers
//	follower and master, kill -9 and SIGSTOP          TestClusters
//	the master, and the follower takes over           TestFailover
//	it is lost by one of two gateways, and by both    TestFailoverIsVetoed
//	both clusters are slow                            TestSlowClusters
//	answers of the master or the follower are cut     TestTruncatedAnswers
//	the disk of the embedded journal is full          TestFullDisk
//	the end of its logs is torn                       TestTornJournal
//	one of two gateways is frozen, the master moves    TestStoppedGatewayAndANewMaster
//	gateways come and go on one consumer group        TestRebalanceStorm
//	the configuration is loaded anew                  TestReloads
//	the master moves, the gateway is killed           TestModel
//
// TestModel sends random operations, one after the other: documents in all these
// ways, malformed ones, bulks, indices deleted and made again, aliases (one that
// routes), mappings, settings, templates, pipelines, stored scripts, changes by
// query. It predicts the version in every answer and what both clusters hold in
// the end; meanwhile the master moves in the background and the gateway is
// killed. A run that fails prints its history and how to repeat it.
//
//	go run ./tests/harness/cmd/clusters exec -- go test ./tests/faults -v
//	go run ./tests/harness/cmd/clusters exec -- go test ./tests/faults -run 'TestBroker|Torn' -v -rounds 10
//	go run ./tests/harness/cmd/clusters exec -- go test ./tests/faults -run TestModel -pair '5->8' -seed 7 -ops 1000 -v
//	make model FOR=30m    # all pairs in turn
package faults
