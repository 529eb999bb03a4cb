package journal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// cuttingFS tells before a file is cut.
type cuttingFS struct {
	vfs.FS
	cut func(name string, do func() error) error
}

func (fs *cuttingFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.OpenReadWrite(name, c, o...)
	if err != nil {
		return nil, err
	}
	return &cuttingFile{f, fs, name}, nil
}

type cuttingFile struct {
	vfs.File
	fs   *cuttingFS
	name string
}

func (f *cuttingFile) Truncate(n int64) error {
	return f.fs.cut(f.name, func() error { return f.File.(interface{ Truncate(int64) error }).Truncate(n) })
}

// What a killed process has left behind the last record is cut off, if the file system can; and whatever becomes of
// that, every record is there, and the journal goes on.
func TestLogCut(t *testing.T) {
	t.Parallel()
	const records, garbage = 5, 300_000
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		fs      func(killed string) vfs.FS
		fails   bool // at first
		remains bool
	}{
		"whole": {fs: func(string) vfs.FS { return vfs.Default }},
		"by a file system that cannot": {
			fs:      func(string) vfs.FS { return &brokenFS{FS: vfs.Default} },
			remains: true,
		},
		"by a disk that fails": {
			fs: func(string) vfs.FS {
				return &cuttingFS{vfs.Default, func(string, func() error) error { return broken }}
			},
			fails: true, remains: true,
		},
		"killed before it": {
			fs: func(killed string) vfs.FS {
				return &cuttingFS{vfs.Default, func(name string, do func() error) error {
					copyFolder(t, killed, filepath.Dir(name), "*")
					return do()
				}}
			},
		},
		"killed behind it": {
			fs: func(killed string) vfs.FS {
				return &cuttingFS{vfs.Default, func(name string, do func() error) error {
					err := do()
					copyFolder(t, killed, filepath.Dir(name), "*")
					return err
				}}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			running, dir, killed := t.TempDir(), t.TempDir(), t.TempDir()
			e := openTest(t, running, EmbeddedOptions{})
			for i := range records {
				appendWait(t, e, "k", fmt.Sprint(i, " x"))
			}
			end := e.log.current().size
			segment := filepath.Base(e.log.path(e.log.current().number))
			copyFolder(t, dir, running, "*")
			e.Close(context.Background())
			behind := make([]byte, garbage)
			rand.Read(behind)
			appendFile(t, filepath.Join(dir, segment), behind)

			e, err := OpenEmbedded(dir, EmbeddedOptions{fs: c.fs(killed), Logf: t.Logf})
			if (err != nil) != c.fails || err != nil && (!errors.Is(err, broken) || !strings.Contains(err.Error(), segment)) {
				t.Fatal(err)
			}
			want := end
			if c.remains {
				want += garbage
			}
			if size := fileSize(t, dir, segment); size != want {
				t.Errorf("it has %d bytes, not %d", size, want)
			}
			if err == nil {
				expectRecords(t, e, records)
				if err := e.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			folders := []string{dir}
			if strings.HasPrefix(name, "killed") {
				folders = append(folders, killed)
			}
			for _, dir := range folders {
				for again := range 2 {
					e := openTest(t, dir, EmbeddedOptions{})
					expectRecords(t, e, records+int64(again))
					appendWait(t, e, "k", fmt.Sprint(records+again, " x"))
					if err := e.Close(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if size := fileSize(t, dir, segment); size != end && (!c.remains || c.fails) {
					t.Errorf("in the end it has %d bytes, not %d", size, end)
				}
			}
		})
	}
}

func appendFile(t *testing.T, name string, b []byte) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func fileSize(t *testing.T, dir, name string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
