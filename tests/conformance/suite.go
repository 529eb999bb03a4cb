package conformance

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A suite is the tests of one major.
type suite struct {
	major int
	apis  map[string]*api
	tests []*test
}

// A test is one section of a file, with what has to be done before and after.
type test struct {
	file     string // "search/10_source_filtering"
	name     string
	setup    []step
	steps    []step
	teardown []step
	skip     []skip
}

func (t *test) String() string { return t.file + "/" + t.name }

// A step is a call, an assertion or a variable that is set.
type step struct {
	line int
	kind string // do, match, is_true, set ...
	arg  any
}

type skip struct {
	versions string
	features []string
}

// features that the runner has.
var features = []string{
	"allowed_warnings", "arbitrary_key", "contains", "default_shards", "embedded_stash_key", "headers", "no_xpack",
	"node_selector", "spi_on_classpath_jdk9", "stash_in_key", "stash_in_path", "warnings", "yaml",
}

// readSuite reads a jar of harness.RESTSpec.
func readSuite(jar string, major int) (*suite, error) {
	archive, err := zip.OpenReader(jar)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	s := &suite{major: major, apis: map[string]*api{}}
	for _, f := range archive.File {
		isAPI := strings.HasPrefix(f.Name, "rest-api-spec/api/") && strings.HasSuffix(f.Name, ".json") && !strings.HasPrefix(path.Base(f.Name), "_")
		isTest := strings.HasPrefix(f.Name, "rest-api-spec/test/") && (path.Ext(f.Name) == ".yml" || path.Ext(f.Name) == ".yaml")
		if !isAPI && !isTest {
			continue
		}
		text, err := readEntry(f)
		if err != nil {
			return nil, err
		}
		if isAPI {
			a, err := parseAPI(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name, err)
			}
			s.apis[a.name] = a
			continue
		}
		name := strings.TrimSuffix(strings.TrimPrefix(f.Name, "rest-api-spec/test/"), path.Ext(f.Name))
		tests, err := parseFile(name, text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		s.tests = append(s.tests, tests...)
	}
	slices.SortStableFunc(s.tests, func(a, b *test) int { return strings.Compare(a.file, b.file) })
	return s, nil
}

func readEntry(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// parseFile reads a file of several documents: setup, teardown and one for
// each test.
func parseFile(name string, text []byte) ([]*test, error) {
	var tests []*test
	var setup, teardown []step
	var skips []skip
	d := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var doc yaml.Node
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
			continue // an empty document
		}
		sections := doc.Content[0].Content
		for i := 0; i+1 < len(sections); i += 2 {
			steps, skipped, err := parseSteps(sections[i+1])
			if err != nil {
				return nil, err
			}
			switch title := sections[i].Value; title {
			case "setup":
				setup, skips = steps, append(skips, skipped...)
			case "teardown":
				teardown = steps
			default:
				tests = append(tests, &test{file: name, name: title, steps: steps, skip: skipped})
			}
		}
	}
	for _, t := range tests {
		t.setup, t.teardown, t.skip = setup, teardown, append(t.skip, skips...)
	}
	return tests, nil
}

func parseSteps(n *yaml.Node) ([]step, []skip, error) {
	if n.Kind != yaml.SequenceNode {
		return nil, nil, fmt.Errorf("line %d: no list of steps", n.Line)
	}
	var steps []step
	var skips []skip
	for _, c := range n.Content {
		if c.Kind != yaml.MappingNode {
			return nil, nil, fmt.Errorf("line %d: no step", c.Line)
		}
		for i := 0; i+1 < len(c.Content); i += 2 {
			arg, err := fromYAML(c.Content[i+1])
			if err != nil {
				return nil, nil, err
			}
			kind := c.Content[i].Value
			if kind == "skip" {
				skips = append(skips, parseSkip(arg))
				continue
			}
			if checks[kind] == nil && kind != "do" && kind != "set" {
				return nil, nil, fmt.Errorf("line %d: unknown step %q", c.Line, kind)
			}
			steps = append(steps, step{c.Content[i].Line, kind, arg})
		}
	}
	return steps, skips, nil
}

func parseSkip(arg any) skip {
	var s skip
	o, ok := arg.(*object)
	if !ok {
		return s
	}
	if v := o.values["version"]; v != nil {
		s.versions = strings.TrimSpace(javaText(v))
	}
	switch f := o.values["features"].(type) {
	case string:
		for _, name := range strings.Split(f, ",") {
			s.features = append(s.features, strings.TrimSpace(name))
		}
	case []any:
		for _, name := range f {
			s.features = append(s.features, javaText(name))
		}
	}
	return s
}

// skipped says why a test is not for this version, or nothing.
func (t *test) skipped(version string) string {
	for _, s := range t.skip {
		for _, f := range s.features {
			if !slices.Contains(features, f) {
				return "needs feature " + f
			}
		}
		if s.versions != "" && inRanges(version, s.versions) {
			return "not for versions " + s.versions
		}
	}
	return ""
}

// inRanges tells whether "from - to, from - to" or "all" contains a version;
// both ends belong to it, and either may be left out.
func inRanges(version, ranges string) bool {
	if strings.EqualFold(ranges, "all") {
		return true
	}
	for _, r := range strings.Split(ranges, ",") {
		from, to, ok := strings.Cut(r, "-")
		if !ok {
			to = from
		}
		from, to = strings.TrimSpace(from), strings.TrimSpace(to)
		if (from == "" || compareVersions(from, version) <= 0) && (to == "" || compareVersions(version, to) <= 0) {
			return true
		}
	}
	return false
}

func compareVersions(a, b string) int {
	return slices.Compare(versionNumbers(a), versionNumbers(b))
}

func versionNumbers(s string) []int {
	n := make([]int, 3)
	for i, part := range strings.SplitN(s, ".", 3) {
		n[i], _ = strconv.Atoi(part)
	}
	return n
}
