// Package docs generates the documents that come out of the code.
package docs

//go:generate go run ./internal/generate
