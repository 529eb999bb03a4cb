package journal

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrLocked says that another process has a lock, or another one in this process.
var ErrLocked = errors.New("in use by another process or configuration")

// Lock takes the lock of a file, which it makes, until the lock is closed or the
// process ends. It does not wait: ErrLocked.
func Lock(path string) (io.Closer, error) {
	lock, err := vfs.Default.Lock(path)
	if heldByAnother(err) {
		return nil, ErrLocked
	}
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return lock, nil
}

func heldByAnother(err error) bool {
	return err != nil && (errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) || strings.Contains(err.Error(), "held by current process"))
}
