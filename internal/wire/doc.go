// Package wire is an HTTP/1.1 client for one node of a cluster, with as little
// between a request and its connection as there can be.
//
// It promises: an answer is that to the request it is returned for, whatever
// the node sends; a request is sent again only if no node can have acted on it,
// or if it may be repeated; an error that wraps ErrNotSent means that nothing
// has reached the node. When the context of a request ends its connection is
// closed within lookEvery, so that the node can stop working on it.
package wire
