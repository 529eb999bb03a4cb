// Package epoch decides who may take writes when several gateways share a
// journal, so that there are never two masters. It promises: a write that a Guard
// lets be acknowledged went to the master of the epoch that all agree on, and no
// later epoch begins before that write is in the journal.
//
// It only decides: it neither reads a clock nor sends anything, so that the same
// code runs in the gateways and in the model that its test is.
// docs/design/switchover.md has the protocol and its reasons.
package epoch
