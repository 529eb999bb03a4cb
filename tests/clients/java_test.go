package clients

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/esperanto-es/esperanto/tests/harness"
)

// javaClient is java/<folder>/Day.java with the libraries that the pom.xml beside
// it names. They and the compiled program are kept between runs.
func javaClient(name, folder string, major int, library, module string, on ...int) client {
	folder = filepath.Join("java", folder)
	manifest := filepath.Join(folder, "pom.xml")
	return client{
		name: name, major: major, on: on,
		library: library, manifest: manifest, module: module,
		prepare: func(ctx context.Context) (command, error) {
			sources := []string{filepath.Join("java", "Steps.java"), filepath.Join(folder, "Day.java")}
			libraries, err := cachedFrom(ctx, name+"-libraries", []string{manifest}, func(dir string) error {
				return run(ctx, "mvn", "-q", "-B", "-Dstyle.color=never", "-f", manifest,
					"dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+dir)
			})
			if err != nil {
				return command{}, err
			}
			path := filepath.Join(libraries, "*")
			classes, err := cachedFrom(ctx, name, append(sources, manifest), func(dir string) error {
				return run(ctx, "javac", append([]string{"-proc:none", "-nowarn", "-d", dir, "-cp", path}, sources...)...)
			})
			if err != nil {
				return command{}, err
			}
			java, err := exec.LookPath("java")
			// A short run: without the optimising compiler it starts sooner.
			return command{args: []string{java, "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
				"-cp", classes + string(os.PathListSeparator) + path, "Day"}}, err
		},
	}
}

// cachedFrom keeps what make makes of some files as long as these do not change.
func cachedFrom(ctx context.Context, name string, files []string, make func(dir string) error) (string, error) {
	h := sha256.New()
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n%s", f, len(text), text)
	}
	return harness.Cached(ctx, fmt.Sprintf("%s-%.6x", name, h.Sum(nil)), make)
}
