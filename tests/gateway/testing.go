package gateway

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// folder keeps the binary while the tests of a package run.
var folder string

// Main runs the tests of a package and throws away what Built has built. It is
// for TestMain, and returns the exit status.
func Main(m *testing.M) int {
	code := m.Run()
	if folder != "" {
		_ = os.RemoveAll(folder)
	}
	return code
}

var build = sync.OnceValues(func() (path string, err error) {
	if folder, err = os.MkdirTemp("", "esperanto-binary-"); err != nil {
		return "", err
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	return Build(context.Background(), root, folder)
})

// moduleRoot is the nearest folder above the test's that has a go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no folder above has a go.mod: run the tests inside the module")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}

// Built is the gateway's binary, built once for the tests of a package in a
// folder below tests.
func Built(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Run starts a gateway that ends with the test; its log is shown if the test
// fails. Without a Binary it is the one of Built.
func Run(t *testing.T, o Options) *Gateway {
	t.Helper()
	if o.Binary == "" {
		o.Binary = Built(t)
	}
	g, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", g.Log())
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}
