// Package replicate copies what writes did to one cluster, the master, to
// another one, the follower, through a journal; and it moves the master. It
// promises: a write that was acknowledged reaches both clusters, and both come
// to hold the same documents with the same _version, whatever is killed in
// between. docs/design/journal.md has the records and the reasons.
package replicate
