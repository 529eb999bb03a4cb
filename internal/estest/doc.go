// Package estest is a fake Elasticsearch for fast tests: documents with
// versions, external versions and remembered deletions; mappings that grow and
// reject; aliases, templates and pipelines as far as replication looks at them;
// in the shapes of each major. Faults can be put in between. Whatever it does
// not know it answers with status 501, so that a test fails and does not guess.
package estest
