// Package facts asks real clusters for what the catalogue takes for granted, where
// specifications and servers are known to differ: each test states a fact for
// each version, and fails when a server says otherwise.
//
//	go run ./tests/harness/cmd/clusters exec -- go test ./tests/facts
package facts
