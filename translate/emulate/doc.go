// Package emulate carries out delete by query, update by query and reindex as
// ordinary requests: a search with a scroll, and bulk requests for what it
// finds. So every document that is written has an effect of its own, and
// clusters without the module for these APIs can be used.
//
// It works in the clients' dialect, in front of everything else: each of its
// requests goes through the gateway as if the client had sent it, with a lease
// of its own. A long job therefore neither holds up a switchover nor ends with
// it.
//
// Jobs do not depend on the client that asked for them, as at Elasticsearch;
// they can be listed, looked at, slowed down and cancelled as tasks. Tasks owns
// them: they end with its Close.
package emulate
