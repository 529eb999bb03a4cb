package harness

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"
)

// A class archive holds the classes of a server as the JVM wants them in
// memory. With it a start needs a third less processor time (measured on
// JDK 17). It is written by a JVM that ends in order, once per distribution
// and JDK.

const archiveFile = "classes.jsa"

// archived returns the options that make a JVM use the class archive of the
// distribution in home. If there is none yet, start starts a server that
// writes one when it ends (see writesArchive). Without an archive everything
// works, only slower, so a failure is no error.
func archived(ctx context.Context, home string, say func(string, ...any), start func(context.Context) (*unit, error)) []string {
	java, err := findJava()
	if err != nil {
		return nil
	}
	name := filepath.Base(home) + "-classes-" + fingerprint(java)
	dir, err := cached(ctx, name, func(dir string) error {
		say("archiving the classes of %s ...", filepath.Base(home))
		return makeArchive(ctx, dir, start)
	})
	if err != nil {
		say("going on without a class archive: %v", err)
		return nil
	}
	return []string{"-XX:SharedArchiveFile=" + filepath.Join(dir, archiveFile), "-Xlog:cds=off", "-Xlog:cds+dynamic=off"}
}

// writesArchive returns the options that make a JVM write its class archive
// into the folder that it runs in: the cache is closed to it.
func writesArchive(runDir string) []string {
	return []string{"-XX:ArchiveClassesAtExit=" + filepath.Join(runDir, archiveFile), "-Xlog:cds=off", "-Xlog:cds+dynamic=off"}
}

func makeArchive(ctx context.Context, dir string, start func(context.Context) (*unit, error)) (err error) {
	u, err := start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.close()) }()
	proc := u.proc
	if err := u.end(func(p *process) error { return p.stop(2 * time.Minute) }); err != nil {
		return err
	}
	if status, ok := proc.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGKILL {
		return fmt.Errorf("%s did not end in time", u.label)
	}
	return copyFile(filepath.Join(u.runDir, archiveFile), filepath.Join(dir, archiveFile))
}
