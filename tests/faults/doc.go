// Package faults breaks real parts while applications write, and checks after
// each fault that nothing is lost: the gateway is a process, the clusters and
// Kafka are real.
package faults
