//go:build race

package gateway

// raced says that the race detector is on: pools drop some of what they are given then, and
// what is allocated cannot be counted.
const raced = true
