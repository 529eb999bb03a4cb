package esapi

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// walk goes into everything and writes it down without blanks.
func walk(c *Cursor, out []byte) []byte {
	switch {
	case c.Open('{'):
		out = append(out, '{')
		for key, ok := c.Key(); ok; key, ok = c.Key() {
			name, _ := json.Marshal(string([]rune(string(key)))) // bytes that are no UTF-8 as in a text
			out = append(append(out, name...), ':')
			out = append(walk(c, out), ',')
		}
		return append(bytes.TrimSuffix(out, []byte(",")), '}')
	case c.Open('['):
		out = append(out, '[')
		for c.Item() {
			out = append(walk(c, out), ',')
		}
		return append(bytes.TrimSuffix(out, []byte(",")), ']')
	case c.Peek() == '"':
		text, _ := json.Marshal(c.Text())
		return append(out, text...)
	}
	return append(out, c.Skip()...)
}

// plain is a body as walk writes it down.
func plain(t *testing.T, body []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var out []byte
	var value func()
	value = func() {
		token, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		switch token {
		case json.Delim('{'):
			out = append(out, '{')
			for d.More() {
				value()
				out = append(out, ':')
				value()
				out = append(out, ',')
			}
			d.Token()
			out = append(bytes.TrimSuffix(out, []byte(",")), '}')
		case json.Delim('['):
			out = append(out, '[')
			for d.More() {
				value()
				out = append(out, ',')
			}
			d.Token()
			out = append(bytes.TrimSuffix(out, []byte(",")), ']')
		default:
			raw, _ := json.Marshal(token)
			out = append(out, raw...)
		}
	}
	value()
	return out
}

// A Cursor takes what encoding/json takes, and reads the same in it, whether it goes into
// it or skips it.
func FuzzCursor(f *testing.F) {
	for _, body := range []string{
		`{"a":[1,-0,0.5,1e5,1E-5,-10.25e+3],"b":{"c":null,"d":[true,false,{}],"e":[]},"":""}`,
		" { \"a\\u0062\" : \"\\ud83d\\ude00 \\ud83d \\\\ \\/ \xff é\u2028\" ,\r\n\t\"x\":[ 1 , 2 ] } ",
		`"a string that is longer than a word of the machine, with a \" and a \n"`,
		`01`, `-`, `1.`, `1.e5`, `1e`, `1e+`, `.5`, `+1`, `tru`, `nulll`, `truefalse`, `"`, `"\`, `"\u00`, `"\x"`, `"\u00g0"`, "\"\\u\x10\x11\x12\x13\"", "\"\n\"", "\"12345678\x1f\"",
		`{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{,}`, `{"a" 1}`, `{"a":1 "b":2}`, `{1:2}`, `[`, `[1`, `[1,`, `[1,]`, `[,]`, `[1 2]`, `[}`, `{]`, `[1}`, `{"a":1]`, `{"a":[1}`,
		``, ` `, `1 2`, `{} {}`, "\v1", "\x00", "\xef\xbb\xbf1", "1\xff",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if bytes.Count(body, []byte("{"))+bytes.Count(body, []byte("[")) > maxNesting {
			return
		}
		want := json.Valid(body)
		if got := ValidJSON(body); got != want {
			t.Fatalf("%q: valid %v, want %v", body, got, want)
		}
		over := NewCursor(body)
		raw := over.Skip()
		if over.End() != want {
			t.Fatalf("%q: skipped %v, want %v", body, over.End(), want)
		}
		if want && !bytes.Equal(raw, bytes.Trim(body, " \n\r\t")) {
			t.Fatalf("%q: %q was skipped", body, raw)
		}
		into := NewCursor(body)
		into.Copy = string(body[:len(body)/2])
		got := walk(&into, nil)
		if into.End() != want {
			t.Fatalf("%q: gone through %v, want %v", body, into.End(), want)
		}
		if want && !bytes.Equal(got, plain(t, body)) {
			t.Fatalf("%q was read as %s, want %s", body, got, plain(t, body))
		}
	})
}

func TestCursorReadsOneMemberOfMany(t *testing.T) {
	c := NewCursor([]byte(`{"took":3,"items":[{"index":{"_id":"a\u0062","_version":12,"n":1e3,"x":null,"y":true}}],"z":9}`))
	var id, x, y string
	var version int64
	var whole, tooMuch bool
	for ok := c.Open('{'); ok; {
		var key []byte
		if key, ok = c.Key(); !ok || string(key) != "items" {
			c.skipIf(ok)
			continue
		}
		for in := c.Open('['); in && c.Item(); {
			c.Open('{')
			c.Key()
			c.Open('{')
			for key, ok := c.Key(); ok; key, ok = c.Key() {
				switch string(key) {
				case "_id":
					id = c.Text()
				case "_version":
					version, whole = c.Int()
				case "n":
					_, tooMuch = c.Int()
				case "x":
					x = c.Text()
				case "y":
					y = c.Text()
				}
			}
			c.Key()
		}
	}
	if id != "ab" || version != 12 || !whole || tooMuch || x != "" || y != "true" || !c.End() {
		t.Errorf("%q %d %v %v %q %q %v", id, version, whole, tooMuch, x, y, c.End())
	}
}

func (c *Cursor) skipIf(yes bool) {
	if yes {
		c.Skip()
	}
}

// Brackets must not take the process down here either, whether they are skipped or gone
// into.
func TestCursorHasABound(t *testing.T) {
	brackets := []byte(strings.Repeat("[", 8<<20))
	c := NewCursor(brackets)
	if c.Skip(); c.End() {
		t.Error("skipped")
	}
	c, n := NewCursor(brackets), 0
	for c.Open('[') {
		c.Item()
		n++
	}
	if n > 2*maxNesting || c.End() {
		t.Errorf("%d deep", n)
	}
}

// What looks like a digit only as long as one bit of it is not looked at is none.
func TestHexDigits(t *testing.T) {
	body := []byte("{\"a\":\"\\u\x10\x11\x12\x13\"}\n")
	s := scanner{to: nowhere{}}
	if err := s.scan(body); err == nil {
		t.Error("taken")
	}
}

func BenchmarkValidJSON(b *testing.B) {
	book := []byte(`{"title":"A book about nothing much","author":{"name":"N. N.","born":1950},"price":12.50,"tags":["a","b","c"],"available":true,"text":"Some words, and a \"quoted\" one, that make the document about as long as one of a shop."}`)
	b.SetBytes(int64(len(book)))
	b.ReportAllocs()
	for b.Loop() {
		if !ValidJSON(book) {
			b.Fatal()
		}
	}
}
