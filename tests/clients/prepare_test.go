package clients

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/esperanto-es/esperanto/tests/harness"
)

// goClient is a program below go/, one module for all of them, so that none of
// their libraries comes into the product's.
func goClient(name string, major int, library, module string, on ...int) client {
	folder := strings.TrimPrefix(name, "go-")
	return client{
		name: name, major: major, on: on,
		library: library, manifest: "go/go.mod", module: module,
		prepare: func(ctx context.Context) (command, error) {
			binary := filepath.Join(binaries, name)
			return command{args: []string{binary}}, run(ctx, "go", "build", "-C", "go", "-o", binary, "./"+folder)
		},
	}
}

// pythonClient is python/day.py with the official library of a major, in a
// virtual environment that is kept between runs.
func pythonClient(major int, on ...int) client {
	manifest := fmt.Sprintf("python/requirements-%d.txt", major)
	return client{
		name: fmt.Sprintf("python-%d", major), major: major, on: on,
		library: "elasticsearch-py", manifest: manifest, module: "elasticsearch",
		prepare: func(ctx context.Context) (command, error) {
			wanted, err := os.ReadFile(manifest)
			if err != nil {
				return command{}, err
			}
			python, err := exec.LookPath("python3")
			if err != nil {
				return command{}, fmt.Errorf("the tests of clients need Python 3: %w", err)
			}
			name := fmt.Sprintf("python-%d-%.6x", major, sha256.Sum256(append(wanted, python...)))
			folder, err := harness.Cached(ctx, name, func(folder string) error {
				if err := run(ctx, python, "-m", "venv", folder); err != nil {
					return err
				}
				return run(ctx, filepath.Join(folder, "bin", "python"), "-m", "pip", "install", "--quiet",
					"--disable-pip-version-check", "--no-deps", "--requirement", manifest)
			})
			return command{
				args: []string{filepath.Join(folder, "bin", "python"), "-W", "ignore", "python/day.py"},
				env:  []string{"PYTHONDONTWRITEBYTECODE=1"},
			}, err
		},
	}
}

// run runs a tool and shows what it said if it fails.
func run(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
