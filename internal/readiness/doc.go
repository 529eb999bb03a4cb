// Package readiness tells what an application has to change before the gateway
// is taken out: it looks at the application's requests beside their way, notes
// which changes of the catalogue each of them needs on the cluster that the
// application is to use, and keeps one example of each without the user's data.
//
// It also compares: a share of the reads is asked again at both clusters, and
// answers that differ are counted.
//
// Requests never wait for it, and what it keeps is bounded.
package readiness
