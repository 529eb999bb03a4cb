package translate

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A Node is one JSON value at a place, while rules run on it. Its members keep
// their order, and a member that no rule touches keeps its bytes.
//
// The results that it hands out share its memory; they are valid while the rule
// runs.
type Node struct {
	name    []byte // the key under which the node stands, empty at the top or in an array at the top
	part    Part
	raw     []byte // while members is not in use
	members []member
	most    int            // that members had
	finds   int            // how often a member was looked for
	byKey   map[string]int // the last member of each key, of a long object; made anew when needed
	parsed  bool
	edits   int // how often it was changed
	filter  bool
	watched bool // it is noted whether rules look at what differs from hit to hit
	looked  bool
	err     error // of parsing; the walker looks at it
}

type member struct {
	key    []byte // its text
	quoted []byte // the key as it came
	value  []byte
	text   string // the value, once a rule has asked for it
}

// newMember makes a member that a rule has given.
func newMember(key, raw string) member {
	b := append(appendQuoted(make([]byte, 0, len(key)+len(raw)+2), key), raw...)
	k := len(b) - len(raw)
	m := member{key: b[1 : k-1], quoted: b[:k:k], value: b[k:], text: raw}
	if string(m.key) != key { // it has escapes
		m.key = []byte(key)
	}
	return m
}

// set gives the member a value; it reports whether that is another one.
func (m *member) set(raw string) bool {
	if string(m.value) == raw {
		return false
	}
	m.value, m.text = []byte(raw), raw
	return true
}

// NewNode makes a node of JSON, so that a rule can edit what lies deeper than its
// own node.
func NewNode(raw string) *Node { return &Node{raw: []byte(raw)} }

// Part says which part of a large object a node is. Objects that hold a long
// array (Hits, SearchAnswer, BulkAnswer ...) are visited in two parts: the
// members in front of the array and those behind it. A rule that adds a member
// does it on one of them only.
type Part int

const (
	Whole Part = iota // the whole object, or all of it up to the array
	Tail              // what follows the array
)

// Part tells which part of a large object this is; Whole for all others.
func (n *Node) Part() Part { return n.part }

// Changed reports whether the node has been edited.
func (n *Node) Changed() bool { return n.edits > 0 }

// InFilter reports whether a query stands where its score does not count:
// somewhere below a filter.
func (n *Node) InFilter() bool { return n.filter }

// Name is the key under which the node stands in its parent: the name of an
// aggregation or field, for example.
func (n *Node) Name() string { return string(n.name) }

// parse splits an object into its members, once. It reports whether the node is
// an object.
func (n *Node) parse() bool {
	if n.parsed {
		return true
	}
	if !n.IsObject() {
		return false
	}
	n.err = n.parseAll(n.raw, 0)
	return n.parsed
}

// parseAll is parseAt for an object with nothing but white space behind it.
func (n *Node) parseAll(b []byte, i int) error {
	end, err := n.parseAt(b, i)
	if err == nil {
		err = atEnd(b, end)
	}
	if err != nil {
		n.parsed = false
		n.empty()
	}
	return err
}

// empty takes all members out; what they had stays in their room.
func (n *Node) empty() {
	n.most = max(n.most, len(n.members))
	n.members = n.members[:0]
}

// parseAt makes the node the object that begins at b[i], parsed, and returns the
// index behind it.
func (n *Node) parseAt(b []byte, i int) (end int, err error) {
	n.empty()
	n.byKey, n.finds = nil, 0
	end, err = members(b, i, func(key, value []byte) {
		n.members = append(n.members, member{}) // filled in its place: put together elsewhere it costs twice as much
		m := &n.members[len(n.members)-1]
		m.key, m.quoted, m.value = unquote(key), key, value
	})
	if err != nil {
		return 0, err
	}
	n.raw, n.parsed = b[i:end], true
	return end, nil
}

// unquote returns the text of a quoted key.
func unquote(quoted []byte) []byte {
	text := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(text, '\\') < 0 {
		return text
	}
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return text
	}
	return []byte(s)
}

// Quote returns s as a JSON string.
func Quote(s string) string {
	if esapi.IsPlain(s) {
		return `"` + s + `"`
	}
	return string(appendQuoted(nil, s))
}

func appendQuoted(dst []byte, s string) []byte {
	if !esapi.IsPlain(s) {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(s) // a string cannot fail
		return append(dst, bytes.TrimRight(b.Bytes(), "\n")...)
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// IsObject reports whether the node is an object.
func (n *Node) IsObject() bool { return n.parsed || (len(n.raw) > 0 && n.raw[0] == '{') }

// IsArray reports whether the node is an array.
func (n *Node) IsArray() bool { return !n.parsed && len(n.raw) > 0 && n.raw[0] == '[' }

// IsString reports whether the node is a string.
func (n *Node) IsString() bool { return !n.parsed && len(n.raw) > 0 && n.raw[0] == '"' }

// Value is the node as gjson sees it.
func (n *Node) Value() gjson.Result {
	if n.watched {
		n.looksAt("")
	}
	return gjson.ParseBytes(n.bytes())
}

// String is the text of a string node, or the raw text of any other scalar.
func (n *Node) String() string { return n.Value().String() }

// Raw is the node's JSON.
func (n *Node) Raw() string {
	if n.watched {
		n.looksAt("")
	}
	return string(n.bytes())
}

// bytes is the node's JSON; it is shared while nothing has changed. A part of a
// large object has no bytes of its own.
func (n *Node) bytes() []byte {
	if n.parsed && (n.edits > 0 || n.raw == nil) {
		return n.appendTo(nil)
	}
	return n.raw
}

// write appends the node's JSON.
func (n *Node) write(dst []byte) []byte {
	if n.parsed && n.edits > 0 {
		return n.appendTo(dst)
	}
	return append(dst, n.bytes()...)
}

func (n *Node) appendTo(dst []byte) []byte {
	dst = append(dst, '{')
	for i := range n.members {
		m := &n.members[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, m.quoted...), ':')
		dst = append(dst, m.value...)
	}
	return append(dst, '}')
}

// Replace puts other JSON in the node's place.
func (n *Node) Replace(raw string) {
	if n.watched {
		n.looksAt("")
	}
	n.raw = []byte(raw)
	n.empty()
	n.byKey = nil
	n.parsed = false
	n.edits++
}

// find returns the place of the last member with this key: of repeated keys
// Elasticsearch 5 takes the last (HTTP-14).
func (n *Node) find(key string) int {
	if !n.parse() {
		return -1
	}
	if n.finds++; n.finds > longObject && len(n.members) > longObject {
		return n.findByKey(key)
	}
	for i := len(n.members) - 1; i >= 0; i-- {
		if string(n.members[i].key) == key {
			return i
		}
	}
	return -1
}

// longObject is from how many members on, and how many looks, they are found by
// an index, so that a rule may look at each of them by its key.
const longObject = 64

func (n *Node) findByKey(key string) int {
	if n.byKey == nil {
		n.byKey = make(map[string]int, len(n.members))
		for i := range n.members {
			n.byKey[string(n.members[i].key)] = i
		}
	}
	if i, ok := n.byKey[key]; ok {
		return i
	}
	return -1
}

// Has reports whether an object has a member.
func (n *Node) Has(key string) bool { return n.find(key) >= 0 }

// Get returns a member; it does not exist in what is no object.
func (n *Node) Get(key string) gjson.Result {
	if i := n.find(key); i >= 0 {
		if n.watched {
			n.looksAt(key)
		}
		m := &n.members[i]
		if m.text == "" {
			m.text = string(m.value)
		}
		return gjson.Parse(m.text)
	}
	return gjson.Result{}
}

// Len is the number of members of an object.
func (n *Node) Len() int {
	n.parse()
	return len(n.members)
}

// Keys are an object's keys in order.
func (n *Node) Keys() []string {
	if !n.parse() {
		return nil
	}
	keys := make([]string, len(n.members))
	for i := range n.members {
		keys[i] = string(n.members[i].key)
	}
	return keys
}

// KeysIn are those of an object's keys that a list names, in the object's order.
func (n *Node) KeysIn(list []string) (keys []string) {
	n.parse()
	for i := range n.members {
		for _, key := range list {
			if string(n.members[i].key) == key {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// Set gives a member a value, in its place if it is there, else behind all
// others. raw is JSON. It does nothing to what is no object.
func (n *Node) Set(key, raw string) {
	if n.watched {
		n.looksAt(key)
	}
	if i := n.find(key); i >= 0 {
		if n.members[i].set(raw) {
			n.edits++
		}
		return
	}
	if n.parsed {
		n.members = append(n.members, newMember(key, raw))
		if n.byKey != nil {
			n.byKey[key] = len(n.members) - 1
		}
		n.edits++
	}
}

// SetString is Set with a string.
func (n *Node) SetString(key, s string) { n.Set(key, Quote(s)) }

// InsertAfter adds a member behind another one, in front of all if there is no
// such member. A member that is there already is given the value in its place.
func (n *Node) InsertAfter(after, key, raw string) {
	if n.watched {
		n.looksAt(key)
	}
	if n.Has(key) || !n.parsed {
		n.Set(key, raw)
		return
	}
	at := n.find(after) + 1
	n.members = append(n.members, member{})
	copy(n.members[at+1:], n.members[at:])
	n.members[at] = newMember(key, raw)
	n.byKey = nil
	n.edits++
}

// Drop removes a member, all occurrences of it, and reports whether it was
// there.
func (n *Node) Drop(key string) bool {
	i := n.find(key)
	if i < 0 {
		return false
	}
	n.members = slices.Delete(n.members, i, i+1)
	n.byKey = nil
	n.edits++
	if n.find(key) >= 0 {
		n.drop(func(m member) bool { return string(m.key) == key })
	}
	return true
}

// DropIf removes the members whose keys are unwanted, and reports whether there
// were any.
func (n *Node) DropIf(unwanted func(key string) bool) bool {
	return n.drop(func(m member) bool { return unwanted(string(m.key)) })
}

func (n *Node) drop(unwanted func(member) bool) bool {
	if !n.parse() {
		return false
	}
	kept := slices.DeleteFunc(n.members, unwanted)
	if len(kept) == len(n.members) {
		return false
	}
	n.members = kept
	n.byKey = nil
	n.edits++
	return true
}

// Rename gives a member another key, in its place; the value keeps its bytes. It
// reports whether it was there. If the new key is there already the old member
// is dropped.
func (n *Node) Rename(from, to string) bool {
	i := n.find(from)
	if i < 0 {
		return false
	}
	if n.watched {
		n.looksAt(from) // rules may look at it under its new name
		n.looksAt(to)
	}
	if n.Has(to) {
		return n.Drop(from)
	}
	renamed := newMember(to, "")
	n.members[i].key, n.members[i].quoted = renamed.key, renamed.quoted
	n.byKey = nil
	n.edits++
	return true
}
