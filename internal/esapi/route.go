package esapi

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// ParseEndpoint says what a request asks for in a dialect. rawPath is the path
// as it came, percent-encoded and without the query.
//
// It decides as Elasticsearch of that version does: words of the API go before
// variables, only an unencoded segment can be such a word, and slashes at the
// end do not count. So /books/_update/1 is the API "update" for a 7.x client
// and a document of the type "_update" for a 5.x client. An empty segment is an
// empty index or type and nothing else.
//
// A path or method that the dialect does not have gives an Endpoint without
// API, and so does an index that begins with an underscore (but not _all): no
// index may, so it is the path of a plugin, or an error that the cluster words
// better.
func ParseEndpoint(method, rawPath string, dialect Version) Endpoint {
	e := Endpoint{Method: method, Path: rawPath}
	verb, ok := verbOf(method)
	if !ok {
		return e
	}
	var buf [maxSegments]string
	segments, ok := split(rawPath, buf[:0])
	if !ok {
		return e
	}
	d := dialectOf(dialect)
	if d == nil {
		return e
	}
	r := d.match(verb, segments)
	if r == nil {
		return e
	}
	unknown := e
	for i := range r.segments {
		p := r.segments[i].part
		if p == literal {
			continue
		}
		value, ok := decodeSegment(segments[i], d.plusIsBlank)
		if !ok || !fits(p, value) {
			return unknown
		}
		*e.part(p) = value
	}
	e.API = r.api
	if set := e.parts(); set != r.parts {
		// With an empty part it has to be another path of the API.
		if r := d.routeOf(e.API, set, verb); r == nil || !r.takes(verb) {
			return unknown
		}
	}
	return e
}

// fits reports whether a segment can be this part of a path.
func fits(p part, value string) bool {
	switch p {
	case partIndex, partAlias:
		rest, all := strings.CutPrefix(value, "_all")
		return !strings.HasPrefix(value, "_") || all && (rest == "" || rest[0] == ',')
	case partType:
		return true
	}
	return value != ""
}

// PathFor writes the endpoint's path for a version, percent-encoded. See
// RequestFor.
func (e Endpoint) PathFor(v Version) (path string, ok bool) {
	_, path, ok = e.RequestFor(v)
	return path, ok
}

// RequestFor writes the endpoint's method and path for a version. The path has
// exactly the parts that are not empty: the caller clears Type for a typeless
// path and sets it for a typed one. It is not ok if the version has no such
// path. The method is the endpoint's own if the version takes it there, else
// the version's first (GET /_cache/clear became POST in 7.0).
//
// An endpoint without API keeps its path.
func (e Endpoint) RequestFor(v Version) (method, path string, ok bool) {
	if e.API == "" {
		return e.Method, e.Path, e.Path != ""
	}
	d := dialectOf(v)
	if d == nil {
		return "", "", false
	}
	verb, _ := verbOf(e.Method)
	r := d.routeOf(e.API, e.parts(), verb)
	if r == nil {
		return "", "", false
	}
	if !r.takes(verb) {
		verb = r.firstVerb
	}
	return verbs[verb], d.path(&e, r, verb), true
}

// Methods are the methods that a version takes at a path, in the order GET, HEAD,
// POST, PUT, DELETE: what it lists for a request with another one. A word that
// the version does not know counts as a name here, also one with an underscore.
func Methods(rawPath string, v Version) []string {
	d := dialectOf(v)
	var buf [maxSegments]string
	segments, ok := split(rawPath, buf[:0])
	if d == nil || !ok {
		return nil
	}
	var all uint8
	for verb := range verbs {
		root := d.roots[verb]
		if len(segments) == 0 {
			all |= root.methods
			continue
		}
		for round := literalsOnly; round <= variablesAnywhere; round++ {
			if n := root.find(segments, 0, round); n != nil {
				all |= n.methods
			}
		}
	}
	var names []string
	for verb, name := range verbs {
		if all&(1<<verb) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// HasAPI reports whether a version has an API, under whatever path.
func HasAPI(api string, v Version) bool {
	d := dialectOf(v)
	return d != nil && len(d.byAPI[api]) > 0
}

// ValidTypeName reports whether a version lets a mapping type have this name
// (TYPE-03). Before 6.2 there is no type _doc; _all is never a type's name,
// though reads take it in a type's place.
func ValidTypeName(name string, v Version) bool {
	if name == "_doc" {
		return v.AtLeast(V(6, 2))
	}
	return name != "" && name[0] != '_' && name[0] != '.' && !strings.ContainsAny(name, ",#") && len(name) <= 255
}

// verbs are the methods of the API; the position is the method's number.
var verbs = [...]string{"GET", "HEAD", "POST", "PUT", "DELETE"}

// noVerb stands for no method at all.
const noVerb = -1

func verbOf(method string) (int, bool) {
	for i, name := range verbs {
		if name == method {
			return i, true
		}
	}
	return len(verbs), false
}

// maxSegments is more than any route has.
const maxSegments = 16

// split cuts a path at its slashes. Slashes at the end do not count.
func split(path string, to []string) ([]string, bool) {
	if path == "" || path[0] != '/' {
		return nil, false
	}
	for len(path) > 0 && path[len(path)-1] == '/' {
		path = path[:len(path)-1]
	}
	for path != "" {
		if len(to) == maxSegments {
			return nil, false
		}
		path = path[1:]
		end := strings.IndexByte(path, '/')
		if end < 0 {
			end = len(path)
		}
		to = append(to, path[:end])
		path = path[end:]
	}
	return to, true
}

// A route is one row of the table.
type route struct {
	api          string
	verbs        uint8 // a bit for each method
	firstVerb    int
	path         string // as the row writes it
	segments     []segment
	parts        partSet
	since, until Version // until is zero if the route is still there
}

type segment struct {
	text string // of a literal
	part part
}

func (r *route) in(v Version) bool {
	return v.AtLeast(r.since) && (r.until.IsZero() || v.Before(r.until))
}

func (r *route) takes(verb int) bool { return r.verbs&(1<<verb) != 0 }

// table reads the rows once. A wrong row is a programming error.
var table = sync.OnceValue(func() []*route {
	return append(parseRoutes(routes), parseRoutes(routesXPack)...)
})

func parseRoutes(text string) []*route {
	var rows []*route
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		if len(f) != 5 {
			panic("esapi: not a route: " + line)
		}
		since, until := rowVersion(f[3]), rowVersion(f[4])
		rest, moved := strings.CutPrefix(f[2], "/_(xpack/)")
		if !moved {
			rows = append(rows, newRoute(f[0], f[1], f[2], since, until))
			continue
		}
		later := since
		if later.Before(V(7, 0)) {
			later = V(7, 0)
		}
		rows = append(rows,
			newRoute(f[0], f[1], "/_"+rest, later, until),
			newRoute(f[0], f[1], "/_xpack/"+rest, since, V(8, 0)))
	}
	return rows
}

func rowVersion(s string) Version {
	if s == "-" {
		return Version{}
	}
	v, err := ParseVersion(s)
	if err != nil || !strings.Contains(s, ".") {
		panic("esapi: not a version in the route table: " + s)
	}
	return v
}

func newRoute(api, methods, path string, since, until Version) *route {
	r := &route{api: api, path: path, since: since, until: until}
	for i, method := range strings.Split(methods, ",") {
		verb, ok := verbOf(method)
		if !ok {
			panic("esapi: not a method in the route table: " + method)
		}
		if i == 0 {
			r.firstVerb = verb
		}
		r.verbs |= 1 << verb
	}
	texts, ok := split(path, nil)
	if !ok {
		panic("esapi: not a path in the route table: " + path)
	}
	for _, text := range texts {
		s := segment{text: text}
		if text[0] == '{' {
			s.part, ok = partNames[strings.Trim(text, "{}")]
			if !ok || r.parts&(1<<s.part) != 0 {
				panic(fmt.Sprintf("esapi: %s in the route %s is unknown or repeated", text, path))
			}
			r.parts |= 1 << s.part
		}
		r.segments = append(r.segments, s)
	}
	return r
}

// A dialect is the routes of one minor version.
type dialect struct {
	roots       [len(verbs)]*node // by method; up to 5.x each method has its own tree
	perMethod   bool
	plusIsBlank bool
	byAPI       map[string][]*route
	literals    map[string]bool
}

// dialects holds what dialectOf has built, by major and minor.
var dialects [10][100]atomic.Pointer[dialect]

// dialectOf returns nil for a version that cannot be.
func dialectOf(v Version) *dialect {
	if v.Major < 0 || v.Major >= len(dialects) || v.Minor < 0 || v.Minor >= len(dialects[0]) {
		return nil
	}
	at := &dialects[v.Major][v.Minor]
	if d := at.Load(); d != nil {
		return d
	}
	d := newDialect(V(v.Major, v.Minor))
	at.Store(d) // built twice at worst, and equal
	return d
}

func newDialect(v Version) *dialect {
	d := &dialect{
		perMethod:   v.Before(V(6, 0)),
		plusIsBlank: v.Before(V(7, 4)),
		byAPI:       map[string][]*route{},
		literals:    map[string]bool{},
	}
	for i := range d.roots {
		if i == 0 || d.perMethod {
			d.roots[i] = new(node)
		} else {
			d.roots[i] = d.roots[0]
		}
	}
	for _, r := range table() {
		if r.until == V(8, 0) && !v.Before(r.until) {
			// Kept for requests with compatible-with=7, and in the way of a
			// variable at this place for all others.
			d.roots[0].insert(r, noVerb)
		}
		if !r.in(v) {
			continue
		}
		d.byAPI[r.api] = append(d.byAPI[r.api], r)
		for verb := range verbs {
			if r.takes(verb) {
				d.roots[verb].insert(r, verb)
			}
		}
		for _, s := range r.segments {
			if s.part == literal {
				d.literals[s.text] = true
			}
		}
	}
	return d
}

// match finds the route of a request. From 6.0 on Elasticsearch asks its tree
// four times, each time allowing variables in more places, and takes the first
// answer that has the method: that is why POST /books/_doc/_search is a search
// in 7.x, although /{index}/_doc/{id} would match it too. 5.x has a tree for
// each method and asks once.
func (d *dialect) match(verb int, segments []string) *route {
	root := d.roots[verb]
	if len(segments) == 0 {
		return root.routes[verb]
	}
	first := literalsOnly
	if d.perMethod {
		first = variablesAnywhere
	}
	for mode := first; mode <= variablesAnywhere; mode++ {
		if n := root.find(segments, 0, mode); n != nil && n.routes[verb] != nil {
			return n.routes[verb]
		}
	}
	return nil
}

// routeOf returns the first route of an API with exactly these parts, one that
// takes the method if there is one.
func (d *dialect) routeOf(api string, set partSet, verb int) *route {
	var found *route
	for _, r := range d.byAPI[api] {
		if r.parts != set {
			continue
		}
		if r.takes(verb) {
			return r
		}
		if found == nil {
			found = r
		}
	}
	return found
}

// path fills a route's variables.
func (d *dialect) path(e *Endpoint, r *route, verb int) string {
	ambiguous := false
	for i := range r.segments {
		if p := r.segments[i].part; p != literal && d.literals[*e.part(p)] {
			ambiguous = true
		}
	}
	path := r.fill(e, nil)
	if ambiguous {
		var buf [maxSegments]string
		if segments, ok := split(path, buf[:0]); !ok || d.match(verb, segments) != r {
			path = r.fill(e, d.literals)
		}
	}
	return path
}

// fill writes the path, with parts that are in disguised made to look different
// from the words of the API.
func (r *route) fill(e *Endpoint, disguised map[string]bool) string {
	if len(r.segments) == 0 {
		return "/"
	}
	b := make([]byte, 0, 96)
	for i := range r.segments {
		b = append(b, '/')
		s := &r.segments[i]
		if s.part == literal {
			b = append(b, s.text...)
			continue
		}
		value := *e.part(s.part)
		b = appendSegment(b, value, disguised[value])
	}
	return string(b)
}
