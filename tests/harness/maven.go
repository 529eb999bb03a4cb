package harness

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The coordinates of everything that is run: a profile per version.
//
//go:embed artifacts
var artifacts embed.FS

// pom returns artifacts/<product>/pom.xml, empty if there is none.
func pom(product string) string {
	text, _ := artifacts.ReadFile("artifacts/" + product + "/pom.xml")
	return string(text)
}

// fetch copies the artifacts of a profile of artifacts/<product>/pom.xml into dir.
func fetch(ctx context.Context, product, profile, dir string) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return errors.New("mvn not found: install Maven 3.6 or later and put it into PATH; real clusters are made of Maven artifacts")
	}
	text := pom(product)
	if !strings.Contains(text, "<id>"+profile+"</id>") {
		return fmt.Errorf("artifacts/%s/pom.xml has no profile %s", product, profile)
	}
	project, err := os.MkdirTemp("", "esperanto-maven-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(project)
	file := filepath.Join(project, "pom.xml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, mvn, "-q", "-B", "-Dstyle.color=never", "-f", file, "-P", profile,
		"dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+dir)
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mvn could not fetch %s %s: %w\n%s", product, profile, err, tail(string(out), 30))
	}
	return nil
}
