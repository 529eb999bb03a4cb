package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// CacheEnv names the folder that keeps unpacked distributions between runs.
// Without it: esperanto-tests in the user's cache folder or, where other users
// cannot pass and have to, /var/cache/esperanto-tests.
const CacheEnv = "ESPERANTO_TEST_CACHE"

func cacheDir() (string, error) {
	dir := os.Getenv(CacheEnv)
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil || unprivileged() != nil && !traversable(filepath.Join(base, "x", "x")) {
			base = "/var/cache"
		}
		dir = filepath.Join(base, "esperanto-tests")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making the cache folder: %w; set %s to a folder that can be written", err, CacheEnv)
	}
	if a := unprivileged(); a != nil && !traversable(filepath.Join(dir, "x")) {
		return "", fmt.Errorf("the cache folder %s cannot be reached by the user %d that clusters run as: set %s to another folder", dir, a.uid, CacheEnv)
	}
	return dir, nil
}

// Cached keeps what other tests download beside the distributions: it returns the
// folder name in the cache. If it is not there, make fills an empty folder, which
// then takes that name at once or, on an error, not at all.
func Cached(ctx context.Context, name string, make func(dir string) error) (string, error) {
	return cached(ctx, name, make)
}

// cached returns the folder name in the cache. If it is not there, make fills
// an empty folder, which then takes that name at once or, on an error, not at
// all. Only one process at a time makes a name.
func cached(ctx context.Context, name string, make func(dir string) error) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	final := filepath.Join(cache, name)
	if exists(final) {
		return final, nil
	}
	unlock, err := lock(ctx, final+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(final) { // made by another process while we waited
		return final, nil
	}
	part := final + ".part"
	if err := os.RemoveAll(part); err != nil { // of a run that was killed
		return "", err
	}
	defer os.RemoveAll(part)
	if err := os.Mkdir(part, 0o755); err != nil {
		return "", err
	}
	if err := make(part); err != nil {
		return "", fmt.Errorf("preparing %s: %w", name, err)
	}
	return final, os.Rename(part, final)
}

// lock waits until this process is the only one that holds the lock file.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			f.Close()
			return nil, fmt.Errorf("waiting for another process that holds %s: %w", path, err)
		}
	}
}

// sleep waits for d or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
