package harness

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

func TestCachedMakesOnce(t *testing.T) {
	t.Setenv(CacheEnv, TempDir(t))
	var made atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			dir, err := cached(context.Background(), "thing", func(dir string) error {
				made.Add(1)
				return os.WriteFile(filepath.Join(dir, "file"), nil, 0o644)
			})
			if err != nil || !exists(filepath.Join(dir, "file")) {
				t.Errorf("got %s, %v", dir, err)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times, want once", made.Load())
	}
}

func TestCachedKeepsNothingOfAFailure(t *testing.T) {
	t.Setenv(CacheEnv, TempDir(t))
	broken := errors.New("broken")
	if _, err := cached(context.Background(), "thing", func(string) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	dir, err := cached(context.Background(), "thing", func(dir string) error { return nil })
	if err != nil || filepath.Base(dir) != "thing" {
		t.Errorf("the second try gives %s, %v", dir, err)
	}
}
