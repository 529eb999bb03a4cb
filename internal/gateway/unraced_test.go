//go:build !race

package gateway

// raced: see raced_test.go.
const raced = false
