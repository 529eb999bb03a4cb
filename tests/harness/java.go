package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// The JDKs that run every version: Kafka 4 needs 17, and Elasticsearch before
// 9 needs the security manager, which 24 no longer has.
const oldestJava, newestJava = 17, 23

// A jvm is a java binary.
type jvm struct {
	path  string
	build string // all that it says of its version
}

// home returns the folder that holds bin/java.
func (j jvm) home() string { return filepath.Dir(filepath.Dir(j.path)) }

// findJava returns the java of JAVA_HOME or, without it, of the PATH.
var findJava = sync.OnceValues(func() (jvm, error) {
	java, err := javaBinary()
	if err != nil {
		return jvm{}, fmt.Errorf("%w: install a JDK (%d to %d) and put it into PATH, or set JAVA_HOME", err, oldestJava, newestJava)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, java, "-version").CombinedOutput()
	if err != nil {
		return jvm{}, fmt.Errorf("asking %s for its version: %w\n%s", java, err, out)
	}
	m := regexp.MustCompile(`version "(\d+)`).FindSubmatch(out)
	if m == nil {
		return jvm{}, fmt.Errorf("%s -version says nothing that looks like a version:\n%s", java, out)
	}
	if major, _ := strconv.Atoi(string(m[1])); major < oldestJava || major > newestJava {
		return jvm{}, fmt.Errorf("%s is Java %d: set JAVA_HOME to a JDK from %d to %d", java, major, oldestJava, newestJava)
	}
	if a := unprivileged(); a != nil && !traversable(java) {
		return jvm{}, fmt.Errorf("%s cannot be reached by the user %d that clusters run as: install the JDK outside of private folders", java, a.uid)
	}
	return jvm{java, string(out)}, nil
})

func javaBinary() (string, error) {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		java := filepath.Join(home, "bin", "java")
		if _, err := os.Stat(java); err != nil {
			return "", fmt.Errorf("JAVA_HOME has no java: %w", err)
		}
		return filepath.EvalSymlinks(java)
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return "", errors.New("java not found")
	}
	return filepath.EvalSymlinks(java)
}
