// Package cluster is one Elasticsearch as the gateway sees it: its version, its
// facts (which type an index has, which aliases and pipelines), and requests to
// it in its own dialect. It knows nothing of translation or of replication.
package cluster
