package verify

import (
	"reflect"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

func TestSource(t *testing.T) {
	for _, c := range []struct {
		a, b, pointer string
		same          bool
	}{
		{`{"a":1}`, `{"a":1}`, "", true},
		{`{"a":1,"b":[1,{"c":null}]}`, " { \"b\" : [ 1 , {\"c\":null} ],\n\"a\":1}", "", true},
		{`{"a":"\u00e9"}`, `{"a":"é"}`, "", true},
		{`{"a":1.0}`, `{"a":1}`, "/a", false},
		{`{"a":1e2}`, `{"a":100}`, "/a", false},
		{`{"a":"1"}`, `{"a":1}`, "/a", false},
		{`{"a":{"b/c":[1,2]}}`, `{"a":{"b/c":[1,3]}}`, "/a/b~1c/1", false},
		{`{"a":[1]}`, `{"a":[1,2]}`, "/a/1", false},
		{`{"a":1}`, `{"a":1,"b~":2}`, "/b~0", false},
		{`{"a":1,"b":2}`, `{"a":1}`, "/b", false},
		{`{"a":{}}`, `{"a":[]}`, "/a", false},
		{`{"a":1,"a":2}`, `{"a":1,"a":2 }`, "", true},
		{`{"a":1,"a":2}`, `{"a":1}`, "/a\x00", false},
		{`{"a":null}`, `{}`, "/a", false},
		{`{}`, ``, "", false},
	} {
		for range 2 {
			pointer, same := Source([]byte(c.a), []byte(c.b))
			if same != c.same || (pointer != c.pointer) {
				t.Errorf("%s and %s: %q %t", c.a, c.b, pointer, same)
			}
			c.a, c.b = c.b, c.a
		}
	}
}

func TestSourceOfAnyDepth(t *testing.T) {
	deep := func(leaf string) []byte {
		return []byte(strings.Repeat(`{"a":[`, 3000) + leaf + strings.Repeat(`]}`, 3000))
	}
	if _, same := Source(deep("1"), deep("2")); same {
		t.Error("a difference deep down is not seen")
	}
	if _, same := Source(deep("1"), append(deep("1"), ' ')); !same {
		t.Error("the same")
	}
}

func FuzzSource(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":null}]}`), []byte(`{"a":[1,{"b":[]}]}`))
	f.Add([]byte(`{"a"`), []byte(`[`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		_, one := Source(a, b)
		_, other := Source(b, a)
		if one != other {
			t.Errorf("%q and %q: %t and %t", a, b, one, other)
		}
		if _, same := Source(a, a); !same {
			t.Errorf("%q is not itself", a)
		}
	})
}

func TestMapping(t *testing.T) {
	master := `{"dynamic":"strict","_meta":{"owner":"x","esperanto":{"type":"book"}},"properties":{"title":{"type":"text","norms":true,"fields":{"raw":{"type":"keyword","ignore_above":100}}},"o":{"properties":{"n":{"type":"long"}}}}}`
	for follower, want := range map[string][]string{
		master: nil,
		`{"dynamic":"strict","_meta":{"owner":"x"},"properties":{"more":{"type":"ip"},"title":{"type":"text","fields":{"raw":{"type":"keyword","ignore_above":"100"},"also":{"type":"text"}}},"o":{"type":"object","properties":{"n":{"type":"long"}}}}}`: nil,
		`{"_meta":{"owner":"y"},"properties":{"title":{"type":"keyword"},"o":{"enabled":false,"properties":{}}}}`: {
			`dynamic is "strict", at the follower not set`, `_meta is {"owner":"x"}, at the follower {"owner":"y"}`, `field title is text, at the follower keyword`,
			`o.enabled is not set, at the follower false`, `field o.n (long) is missing at the follower`},
		`{"dynamic":"strict","_meta":{"owner":"x"},"properties":{"title":{"type":"text","fields":{"raw":{"type":"keyword","ignore_above":50}}},"o":{"properties":{"n":{"type":"long"}}}}}`: {
			`title.raw.ignore_above is 100, at the follower 50`},
		`{}`: {`dynamic is "strict", at the follower not set`, `_meta is {"owner":"x"}, at the follower not set`, `field title (text) is missing at the follower`, `field o (object) is missing at the follower`},
	} {
		got := Mapping(gjson.Parse(master), gjson.Parse(follower))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%q", follower, got)
		}
	}
}

func TestDefinition(t *testing.T) {
	master := `{"index_patterns":["a-*"],"order":0,"settings":{"index":{"number_of_shards":"1"}},"mappings":{"properties":{"a":{"type":"keyword"}}},"aliases":{}}`
	for follower, want := range map[string][]string{
		`{"order":0,"index_patterns":["a-*"],"settings":{"index.number_of_shards":1},"mappings":{"properties":{"a":{"type":"keyword"}}}}`: nil,
		`{"index_patterns":["a-*"],"settings":{"number_of_shards":2},"mappings":{"properties":{"a":{"type":"keyword"}}}}`:                 {`settings.number_of_shards is "1", at the follower 2`},
		`{"index_patterns":["b-*"],"settings":{"number_of_shards":1,"number_of_replicas":0},"mappings":{"properties":{"a":{"type":"keyword"},"b":{"type":"ip"}}},"aliases":{"x":{}}}`: {
			`index_patterns is ["a-*"], at the follower ["b-*"]`, `settings.number_of_replicas is not set, at the follower 0`, `mapping of the follower: field b (ip) is missing at the master`,
			`aliases x is only at the follower`},
	} {
		got := Definition(gjson.Parse(master), gjson.Parse(follower), false)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%q", follower, got)
		}
	}
	typed := `{"template":"a","mappings":{"book":{"properties":{"a":{"type":"keyword"}}}}}`
	if got := Definition(gjson.Parse(typed), gjson.Parse(strings.Replace(typed, "book", "page", 1)), true); len(got) != 2 {
		t.Errorf("%q", got)
	}
	if got := Definition(gjson.Parse(`{"script":{"lang":"painless","source":"1"}}`), gjson.Parse(`{"script":{"lang":"painless","source":"2","options":{}}}`), true); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

func TestAlias(t *testing.T) {
	for _, c := range []struct {
		master, follower string
		same             bool
	}{
		{`{}`, `{"is_write_index":false}`, true},
		{`{"filter":{"term":{"a":1}}}`, `{"filter":{"term":{"a":1}}}`, true},
		{`{"filter":{"term":{"a":1}}}`, `{}`, false},
		{`{"index_routing":"1"}`, `{"index_routing":"2"}`, false},
		{`{}`, `{"is_hidden":true}`, false},
	} {
		if why := Alias(gjson.Parse(c.master), gjson.Parse(c.follower)); (why == "") != c.same {
			t.Errorf("%s and %s: %q", c.master, c.follower, why)
		}
	}
}
