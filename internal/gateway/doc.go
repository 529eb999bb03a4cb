// Package gateway answers the clients: it decides which requests go through
// untouched, which are translated and which are captured, and it sees to limits,
// compressed bodies, output options, ids of scrolls and the shape of errors. It
// knows nothing of Caddy, and not how a cluster is reached.
package gateway
