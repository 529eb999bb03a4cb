package esapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// readBulk prints the items of a bulk, and the error if it is not io.EOF.
func readBulk(b *BulkReader) string {
	var out strings.Builder
	for {
		a, err := b.Next()
		if err == io.EOF {
			return out.String()
		}
		if err != nil {
			return out.String() + err.Error()
		}
		fmt.Fprintf(&out, "%d %s %s %s", a.Line, a.Op, a.Meta, a.Source)
		if a.Source == nil {
			out.WriteString("-")
		}
		if a.Loose {
			out.WriteString(" loose")
		}
		if a.Unterminated {
			out.WriteString(" unterminated")
		}
		out.WriteString("\n")
	}
}

func TestBulkReader(t *testing.T) {
	const bad = "illegal_argument_exception: Malformed action/metadata line "
	for _, test := range []struct{ body, want string }{
		{"", ""},
		{"\n\r\n  \n", ""},
		{"{\"index\":{\"_id\":\"1\"}}\n{\"a\":1}\n", "1 index {\"_id\":\"1\"} {\"a\":1}\n"},
		{"{\"index\":{}}\r\n{\"a\":1}\r\n{\"delete\":{\"_id\":\"2\"}}\r\n", "1 index {} {\"a\":1}\n3 delete {\"_id\":\"2\"} -\n"},
		{"\n { \"create\" : { \"_id\" : \"\\\"}\" } } \n\n\n{\"delete\":{}}", "2 create { \"_id\" : \"\\\"}\" } \n5 delete {} - unterminated\n"},
		{"{\"update\":{}}\nnot json at all\n", "1 update {} not json at all\n"},
		{"{\"index\":{}}\n{}", "1 index {} {} unterminated\n"},
		{"{\"index\":{}}\n", ""},
		{"{\"index\":{}}", ""},
		{"{\"\\u0069ndex\":{}}\n{}\n", "1 index {} {}\n"},
		{"{\"index\":{}}x\n{}\n", "1 index {} {} loose\n"},
		{"{\"index\":{}\n{}\n", "1 index {} {} loose\n"},
		{"{\"index\":{},\"create\":{}}\n{}\n", "1 index {} {} loose\n"},

		{"{\"delete\":{}}\n[1]\n", "1 delete {} -\n" + bad + "[2], expected START_OBJECT but found [START_ARRAY]"},
		{"\n{}\n", bad + "[2], expected FIELD_NAME but found [END_OBJECT]"},
		{"{\"index\":null}\n", bad + "[1], expected START_OBJECT or END_OBJECT but found [VALUE_NULL]"},
		{"{\"index\":\"x\"}\n", bad + "[1], expected START_OBJECT or END_OBJECT but found [VALUE_STRING]"},
		{"{\"upsert\":{}}\n{}\n", bad + "[1], expected field [create], [delete], [index] or [update] but found [upsert]"},
		{"{\"index\":{\"_id\":}}\n", bad + "[1], broken JSON at byte 16: expected a value"},
		{"{\"index\"", bad + "[1], broken JSON at byte 8: expected a colon"},
		{"{\"index", bad + "[1], broken JSON at byte 7: it ends too early"},
		{"{", bad + "[1], expected FIELD_NAME but found [null]"},
		{"nonsense", bad + "[1], broken JSON at byte 0: expected a value"},
		{"\n\n-1\n", bad + "[3], expected START_OBJECT but found [VALUE_NUMBER]"},
	} {
		if got := readBulk(NewBulkBytes([]byte(test.body))); got != test.want {
			t.Errorf("%q in memory:\n got %s\nwant %s", test.body, got, test.want)
		}
		if got := readBulk(NewBulkReader(iotest.OneByteReader(strings.NewReader(test.body)), 100)); got != test.want {
			t.Errorf("%q as a stream:\n got %s\nwant %s", test.body, got, test.want)
		}
	}
}

func TestBulkLineLimit(t *testing.T) {
	line := `{"a":"` + strings.Repeat("x", 100_000) + `"}`
	body := "{\"index\":{}}\n" + line + "\n"
	b := NewBulkReader(strings.NewReader(body+body), len(line))
	for range 2 {
		a, err := b.Next()
		if err != nil || string(a.Source) != line || string(a.Meta) != "{}" {
			t.Fatalf("%v, %d bytes of source", err, len(a.Source))
		}
	}
	if _, err := b.Next(); err != io.EOF || b.Lines() != 4 {
		t.Errorf("%v after %d lines", err, b.Lines())
	}
	for _, end := range []string{"", "\n", "\r\n"} {
		b = NewBulkReader(strings.NewReader("{\"index\":{}}\n"+line+end), len(line)-1)
		_, err := b.Next()
		var tooLong *LineTooLong
		if !errors.As(err, &tooLong) || tooLong.Line != 2 || tooLong.Limit != len(line)-1 {
			t.Errorf("got %v", err)
		}
		if AsError(err).Status != 413 {
			t.Errorf("%v is %d", err, AsError(err).Status)
		}
		if _, again := b.Next(); again != err {
			t.Errorf("then %v", again)
		}
	}
	gone := errors.New("gone")
	b = NewBulkReader(io.MultiReader(strings.NewReader("{\"delete\":{}}\n{\"del"), iotest.ErrReader(gone)), 100)
	if _, err := b.Next(); err != nil {
		t.Error(err)
	}
	if _, err := b.Next(); err != gone {
		t.Errorf("got %v", err)
	}
}

func TestSearchReader(t *testing.T) {
	for _, test := range []struct {
		dialect    Version
		body, want string
	}{
		{v717, "{}\n{\"a\":1}\n\n{}\r\n", "1 {} {\"a\":1} | 3  {} | "},
		{v717, "\n{\"index\":\"i\"}\n{}\n", "2 {\"index\":\"i\"} {} | "},
		{v817, "\n{}\n", "1  {} | "},
		{v817, "{}\n{}\n{}\n", "1 {} {} | "},
		{v68, "{}\n{}", "1 {} {} unterminated| "},
		{v68, "", ""},
	} {
		for _, s := range []*SearchReader{
			NewSearchBytes([]byte(test.body), test.dialect),
			NewSearchReader(iotest.OneByteReader(strings.NewReader(test.body)), 50, test.dialect),
		} {
			var got strings.Builder
			for {
				item, err := s.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&got, "%d %s %s ", item.Line, item.Header, item.Body)
				if item.Unterminated {
					got.WriteString("unterminated")
				}
				got.WriteString("| ")
			}
			if got.String() != test.want {
				t.Errorf("%q: got %q, want %q", test.body, got.String(), test.want)
			}
		}
	}
}

func FuzzBulk(f *testing.F) {
	f.Add([]byte("{\"index\":{}}\n{}\n\n{\"delete\":{}}"), uint8(3))
	f.Add([]byte("\r\n{ \"update\" : {\"a\":[1]}\r\n\r\n"), uint8(0))
	f.Fuzz(func(t *testing.T, body []byte, limit uint8) {
		// The lines and their ends are the body.
		var joined []byte
		l := lineReader{r: iotest.HalfReader(bytes.NewReader(body)), max: len(body)}
		for {
			l.mark()
			before := l.at
			s, _, err := l.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if before != l.from {
				before = l.from // the buffer has moved
			}
			if line := l.text(s); bytes.IndexByte(line, '\n') >= 0 || !bytes.HasPrefix(l.buf[before:l.at], line) {
				t.Fatalf("%q is not the line in %q", line, l.buf[before:l.at])
			}
			joined = append(joined, l.buf[before:l.at]...)
		}
		if !bytes.Equal(joined, body) {
			t.Fatalf("%q became %q", body, joined)
		}
		inMemory := readBulk(NewBulkBytes(bytes.Clone(body)))
		stream := readBulk(NewBulkReader(iotest.HalfReader(bytes.NewReader(body)), len(body)))
		if inMemory != stream {
			t.Fatalf("in memory %q, as a stream %q", inMemory, stream)
		}
		readBulk(NewBulkReader(bytes.NewReader(body), int(limit)))
	})
}

func BenchmarkBulk(b *testing.B) {
	item := `{"index":{"_index":"books","_id":"12345"}}` + "\n" + `{"title":"` + strings.Repeat("some text ", 50) + `"}` + "\n"
	body := strings.Repeat(item, 1000)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		r := NewBulkReader(strings.NewReader(body), 1<<20)
		for {
			if _, err := r.Next(); err != nil {
				break
			}
		}
	}
}
