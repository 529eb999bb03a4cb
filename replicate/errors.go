package replicate

import (
	"fmt"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// unavailable is an answer that says that something is down or busy.
func unavailable(format string, args ...any) error {
	return esapi.Unavailable(fmt.Sprintf(format, args...))
}

// unsupported is an answer that refuses a request for what it asks.
func unsupported(format string, args ...any) error {
	return esapi.Unsupported(fmt.Sprintf(format, args...))
}

// illegal is an answer that says that a request cannot be read.
func illegal(format string, args ...any) error {
	return esapi.IllegalArgument(fmt.Sprintf(format, args...))
}

// byteCount writes a number of bytes in whole KiB or MiB.
func byteCount(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
