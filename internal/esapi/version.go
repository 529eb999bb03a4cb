package esapi

import (
	"fmt"
	"strconv"
	"strings"
)

// A Version is an Elasticsearch version. The zero Version means "not known".
type Version struct {
	Major, Minor, Patch int
}

// V makes a Version without a patch number, as the catalogue writes it.
func V(major, minor int) Version { return Version{Major: major, Minor: minor} }

// latest is the version that a bare major stands for.
var latest = map[int]Version{
	5: {5, 6, 16},
	6: {6, 8, 23},
	7: {7, 17, 28},
	8: {8, 17, 0},
}

// ParseVersion reads "8.7.1", "8.7" or "8"; a bare major means its last
// version. A suffix such as "-SNAPSHOT" is ignored. Only majors 5 to 8 are
// taken; the error names what is supported.
func ParseVersion(s string) (Version, error) {
	number, _, _ := strings.Cut(s, "-")
	var parts [3]int
	fields := strings.Split(number, ".")
	if len(fields) > len(parts) {
		return Version{}, fmt.Errorf("%q is not an Elasticsearch version; write it as 8.7.1, 8.7 or 8", s)
	}
	for i, f := range fields {
		n, err := strconv.Atoi(f)
		if err != nil || n < 0 {
			return Version{}, fmt.Errorf("%q is not an Elasticsearch version; write it as 8.7.1, 8.7 or 8", s)
		}
		parts[i] = n
	}
	v := Version{parts[0], parts[1], parts[2]}
	if v.Major < 5 || v.Major > 8 {
		return Version{}, fmt.Errorf("Elasticsearch %s is not supported; esperanto speaks 5.x, 6.x, 7.x and 8.x", s)
	}
	if len(fields) == 1 {
		return latest[v.Major], nil
	}
	return v, nil
}

// Before reports whether v is older than o.
func (v Version) Before(o Version) bool {
	if v.Major != o.Major {
		return v.Major < o.Major
	}
	if v.Minor != o.Minor {
		return v.Minor < o.Minor
	}
	return v.Patch < o.Patch
}

// AtLeast reports whether v is o or newer.
func (v Version) AtLeast(o Version) bool { return !v.Before(o) }

// IsZero reports whether the version is not known.
func (v Version) IsZero() bool { return v == Version{} }

// SameDialect reports whether nothing has to be translated between v and o:
// patch releases do not change the REST API.
func (v Version) SameDialect(o Version) bool { return v.Major == o.Major && v.Minor == o.Minor }

// String gives "8.7.1".
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// Short gives "8.7", as rows of the catalogue write it.
func (v Version) Short() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }
