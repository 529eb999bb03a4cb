package journal

import (
	"fmt"
	"strings"
)

// defaultPartitions is what a new journal gets: enough to apply a few indices
// beside each other, few enough that the bookkeeping costs nothing.
const defaultPartitions = 8

// maxPartitions bounds the goroutines and the memory per journal.
const maxPartitions = 1024

// partitionOf is FNV-1a of the key. It is the same for both implementations
// and must never change: records of one key in two partitions lose their order.
func partitionOf(key string, partitions int32) int32 {
	h := uint32(2166136261)
	for i := range len(key) {
		h ^= uint32(key[i])
		h *= 16777619
	}
	return int32(h % uint32(partitions))
}

// checkTableName keeps names to what is allowed in a Kafka topic's name and
// cannot be mistaken for a separator.
func checkTableName(name string) error {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("a table of the journal cannot be named %q: use a-z, 0-9 and -", name)
	}
	return nil
}
