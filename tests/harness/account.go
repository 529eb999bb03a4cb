package harness

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// nobody is the user that clusters run as when root starts them:
// Elasticsearch refuses to run as root.
const nobody = 65534

// An account is a user that child processes run as.
type account struct{ uid, gid int }

// unprivileged returns the account for child processes, nil for our own.
func unprivileged() *account {
	if os.Geteuid() != 0 {
		return nil
	}
	return &account{nobody, nobody}
}

// credential returns what SysProcAttr wants, nil for our own account.
func (a *account) credential() *syscall.Credential {
	if a == nil {
		return nil
	}
	return &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
}

// own gives the account everything below dir.
func (a *account) own(dir string) error {
	if a == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, a.uid, a.gid)
	})
}

// traversable reports whether every folder above path lets other users pass.
func traversable(path string) bool {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil && info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

// tempDir is TMPDIR or, if other users cannot pass there and have to, /tmp.
func tempDir() string {
	base := os.TempDir()
	if unprivileged() != nil && !traversable(filepath.Join(base, "x")) {
		base = "/tmp"
	}
	return base
}

// memoryDir is a folder in memory with room for the data of tests; empty if
// there is none.
func memoryDir() string {
	const dir = "/dev/shm"
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil || s.Bavail*uint64(s.Bsize) < 1<<30 {
		return ""
	}
	if f, err := os.CreateTemp(dir, "esperanto-"); err != nil { // not ours to write
		return ""
	} else {
		f.Close()
		os.Remove(f.Name())
	}
	return dir
}

// makeRunDir makes the folder of one cluster in base.
func makeRunDir(base, name string) (string, error) {
	dir, err := os.MkdirTemp(base, "esperanto-"+name+"-")
	if err != nil {
		return "", fmt.Errorf("making a folder for %s: %w", name, err)
	}
	return dir, os.Chmod(dir, 0o755)
}
