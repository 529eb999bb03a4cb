package harness

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// distribution returns the folder of an unpacked, complete Elasticsearch in
// the cache and makes it if it is not there.
func distribution(ctx context.Context, r release, say func(string, ...any)) (string, error) {
	name := "elasticsearch-" + r.Version + "-" + fingerprint(pom("elasticsearch"), r)
	return cached(ctx, name, func(dir string) error {
		say("downloading elasticsearch %s from Maven ...", r.Version)
		parts := filepath.Join(dir, "artifacts")
		if err := fetch(ctx, "elasticsearch", r.Version, parts); err != nil {
			return err
		}
		say("unpacking elasticsearch %s ...", r.Version)
		if err := unzip(filepath.Join(parts, "elasticsearch*-"+r.Version+".zip"), dir); err != nil {
			return err
		}
		if len(r.Modules) > 0 {
			if err := unzip(filepath.Join(parts, "elasticsearch*-"+donor+".zip"), parts); err != nil {
				return err
			}
		}
		for _, m := range r.Modules {
			if err := addModule(m, r.Version, dir, parts); err != nil {
				return fmt.Errorf("module %s: %w", m.Name, err)
			}
		}
		return os.RemoveAll(parts)
	})
}

// fingerprint changes when the recipe does, so that a new recipe is not
// served by what an old one made.
func fingerprint(recipe ...any) string {
	h := fnv.New32a()
	fmt.Fprintf(h, "%+v", recipe)
	return fmt.Sprintf("%08x", h.Sum32())
}

// unzip unpacks the one archive that matches pattern into dir, without the
// archive's own top folder. Everybody may read the result.
func unzip(pattern, dir string) error {
	file, err := theOne(pattern)
	if err != nil {
		return err
	}
	archive, err := zip.OpenReader(file)
	if err != nil {
		return err
	}
	defer archive.Close()
	for _, f := range archive.File {
		_, name, _ := strings.Cut(f.Name, "/")
		if name == "" || strings.HasSuffix(name, "/") {
			continue
		}
		if !filepath.IsLocal(name) {
			return fmt.Errorf("%s: name %q leads outside", file, f.Name)
		}
		mode := os.FileMode(0o644)
		if f.Mode()&0o100 != 0 {
			mode = 0o755
		}
		r, err := f.Open()
		if err != nil {
			return err
		}
		err = write(filepath.Join(dir, name), r, mode)
		r.Close()
		if err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Join(dir, "plugins"), 0o755)
}

// addModule puts a module together. The artifacts and the unpacked donor lie
// in parts.
func addModule(m module, version, dir, parts string) error {
	into := filepath.Join(dir, "modules", m.Name)
	var jars []string
	for _, id := range strings.Fields(m.Jars) {
		jar, err := theOne(filepath.Join(parts, id+"-[0-9]*.jar"))
		if err != nil {
			return err
		}
		jars = append(jars, jar)
	}
	for _, lent := range strings.Fields(m.Lent) {
		lender, glob, _ := strings.Cut(lent, ":")
		from := map[string]string{"donor": parts, "own": dir}[lender]
		found, err := filepath.Glob(filepath.Join(from, "modules", glob))
		if err != nil || len(found) == 0 {
			return fmt.Errorf("no jars match %s", lent)
		}
		jars = append(jars, found...)
	}
	for _, jar := range jars {
		if err := copyFile(jar, filepath.Join(into, filepath.Base(jar))); err != nil {
			return err
		}
	}
	donated := filepath.Join(parts, "modules", m.Name)
	if policy := filepath.Join(donated, "plugin-security.policy"); exists(policy) {
		if err := copyFile(policy, filepath.Join(into, "plugin-security.policy")); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(filepath.Join(donated, "plugin-descriptor.properties"))
	if err != nil {
		return err
	}
	text = bytes.ReplaceAll(text, []byte(donor), []byte(version))
	if m.Class != "" {
		text = append(text, "\nclassname="+m.Class+"\n"...) // the last one counts
	}
	return write(filepath.Join(into, "plugin-descriptor.properties"), bytes.NewReader(text), 0o644)
}

func theOne(pattern string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%d files match %s, want one", len(found), filepath.Base(pattern))
	}
	return found[0], nil
}

func copyFile(from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	return write(to, f, 0o644)
}

// write makes a file and the folders above it.
func write(path string, r io.Reader, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
