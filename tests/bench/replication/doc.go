// Package replication measures replication on real clusters:
//
//	make figures
//
// docs/performance.md says how to read what it prints. Parts of it by -run, such as
//
//	go run ./tests/harness/cmd/clusters exec -- go test ./tests/bench/replication -figures -run Figures/catch-up -timeout 30m
//
// Without -figures everything is run once with next to nothing, to see that it works.
package replication
