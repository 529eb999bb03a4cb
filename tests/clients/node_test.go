package clients

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// oldestNode is the oldest major of Node.js that all libraries run on.
const oldestNode = 18

// nodeClient is node/<folder>/day.js with the library that the package.json beside
// it names, which is kept between runs. before are arguments of the program.
func nodeClient(name, folder string, major int, module string, before []string, on ...int) client {
	folder = filepath.Join("node", folder)
	manifest := filepath.Join(folder, "package.json")
	return client{
		name: name, major: major, on: on,
		library: module, manifest: manifest, module: module,
		prepare: func(ctx context.Context) (command, error) {
			if err := findNode(ctx); err != nil {
				return command{}, err
			}
			files := []string{manifest, filepath.Join(folder, "package-lock.json"), filepath.Join(folder, ".npmrc")}
			libraries, err := cachedFrom(ctx, filepath.Base(folder), files, func(dir string) error {
				for _, f := range files {
					text, err := os.ReadFile(f)
					if err != nil {
						return err
					}
					if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), text, 0o644); err != nil {
						return err
					}
				}
				return run(ctx, "npm", "ci", "--silent", "--ignore-scripts", "--prefix", dir)
			})
			return command{
				args: append([]string{"node", filepath.Join(folder, "day.js")}, before...),
				env:  []string{"NODE_PATH=" + filepath.Join(libraries, "node_modules"), "NODE_NO_WARNINGS=1"},
			}, err
		},
	}
}

// findNode fails without a Node.js that is young enough.
func findNode(ctx context.Context) error {
	said, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return fmt.Errorf("the tests of clients need Node.js %d or later: %w", oldestNode, err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(string(said), "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldestNode {
		return fmt.Errorf("the tests of clients need Node.js %d or later, not %s", oldestNode, said)
	}
	return nil
}
