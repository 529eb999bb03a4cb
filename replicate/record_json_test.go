package replicate

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// encodeByReflection and decodeByReflection say what encode and decode have to come to.
func encodeByReflection(t *testing.T, r record) []byte {
	r.V = 1
	b, err := json.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	if r.Source != nil {
		b = append(append(b[:len(b)-1], `,"source":`...), r.Source...)
		b = append(b, '}')
	}
	return b
}

func decodeByReflection(b []byte) (*record, error) {
	if !json.Valid(b) {
		return nil, errors.New("not JSON")
	}
	r := &record{}
	head := b
	if source := gjson.GetBytes(b, "source"); source.Exists() && source.Index > 0 {
		r.Source = b[source.Index : source.Index+len(source.Raw)]
		head = append(bytes.Clone(b[:source.Index]), "0}"...)
	}
	if err := json.Unmarshal(head, r); err != nil {
		return nil, err
	}
	if r.V != 1 {
		return nil, errors.New("another version")
	}
	return r, nil
}

// sameRecord compares records as they are used: an empty list is as good as none.
func sameRecord(a, b *record) bool {
	x, y := *a, *b
	for _, r := range []*record{&x, &y} {
		if len(r.Docs) == 0 {
			r.Docs = nil
		}
		if len(r.State) == 0 {
			r.State = nil
		}
	}
	return reflect.DeepEqual(x, y)
}

// A maker makes records of whatever may stand in them.
type maker struct{ *rand.Rand }

func (m maker) text() string {
	pieces := []string{"books", "a-1", "", "\"", `\`, "/", "<b>&", "\x00", "\x01\x1f\x7f", "\b\f\n\r\t", "\u2028\u2029", "é", "日本", "😀", "\xff", "\xed\xa0\x80", "\xf0\x9f", "\ufffd", `\u0041`, "{}[],:", strings.Repeat("x", 300)}
	var b strings.Builder
	for range m.IntN(4) {
		b.WriteString(pieces[m.IntN(len(pieces))])
	}
	if m.IntN(10) == 0 {
		b.WriteByte(byte(m.IntN(256)))
	}
	return b.String()
}

func (m maker) number() int64 {
	return []int64{0, 1, -1, 17, math.MaxInt64, math.MinInt64, m.Int64()}[m.IntN(7)]
}

func (m maker) record() *record {
	r := &record{Kind: kindEffect, From: m.text(), ID: m.text(), Until: m.number(), Version: m.number(), Sent: m.number(),
		Deleted: m.IntN(3) == 0, Read: m.IntN(3) == 0, Again: m.IntN(3) == 0, Index: m.text(), Routing: m.text()}
	switch m.IntN(4) {
	case 0:
		r.Kind = m.text()
	case 1:
		r.Epoch = m.Uint64()
	case 2:
		r.Gateway, r.Type, r.Parent, r.What, r.Name = m.text(), m.text(), m.text(), m.text(), m.text()
	}
	for range m.IntN(3) {
		r.Docs = append(r.Docs, recordDoc{Index: m.text(), Type: m.text(), ID: m.text(), Routing: m.text(), Parent: m.text(), On: m.text(), OnRouting: m.text(), Taught: m.text()})
	}
	for range m.IntN(3) {
		r.State = append(r.State, asked{stateRef{m.text(), m.text()}, m.text(), m.text()})
	}
	if m.IntN(2) == 0 {
		r.Source, _ = json.Marshal(map[string]any{m.text(): m.text(), "source": m.number()})
	}
	return r
}

// Any record is written and read as encoding/json would.
func TestRecordsAreThoseOfReflection(t *testing.T) {
	m := maker{rand.New(rand.NewPCG(1, 2))}
	for range 20_000 {
		in := m.record()
		raw := in.encode()
		if want := encodeByReflection(t, *in); !bytes.Equal(raw, want) {
			t.Fatalf("%+v is written as\n%s\nwant\n%s", in, raw, want)
		}
		out, err := decode(raw)
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		want, err := decodeByReflection(raw)
		if err != nil || !sameRecord(out, want) {
			t.Fatalf("%s is read as\n%+v\nwant\n%+v\n%v", raw, out, want, err)
		}
		if again, err := decode(out.encode()); err != nil || !sameRecord(again, out) {
			t.Fatalf("%+v is read again as\n%+v\n%v", out, again, err)
		}
	}
}

// Each field of a record has a member, also one that was added later.
func TestRecordsAreWhole(t *testing.T) {
	in := &record{Docs: make([]recordDoc, 1), State: make([]asked, 1)}
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		for i := range v.NumField() {
			switch f := v.Field(i); {
			case !f.CanSet():
			case f.Kind() == reflect.String:
				f.SetString(v.Type().Field(i).Name)
			case f.CanInt():
				f.SetInt(1)
			case f.CanUint():
				f.SetUint(1)
			case f.Kind() == reflect.Bool:
				f.SetBool(true)
			case f.Kind() == reflect.Struct:
				fill(f)
			case f.Type() == reflect.TypeFor[[]byte]():
				f.SetBytes([]byte("{}"))
			case f.Kind() == reflect.Slice:
				fill(f.Index(0))
			default:
				t.Fatalf("%s of type %s is not filled", v.Type().Field(i).Name, f.Type())
			}
		}
	}
	fill(reflect.ValueOf(in).Elem())
	raw := in.encode()
	if want := encodeByReflection(t, *in); !bytes.Equal(raw, want) {
		t.Errorf("%s\nwant %s", raw, want)
	}
	if out, err := decode(raw); err != nil || !sameRecord(in, out) {
		t.Errorf("%+v\nwant %+v\n%v", out, in, err)
	}
}

// However a record stands there, it is taken or not as by encoding/json, and read the same.
func FuzzDecodeAsReflection(f *testing.F) {
	for _, raw := range []string{
		`{"v":1,"kind":"effect","source":{}}`, `{"source":1,"v":1}`, `{"v":1,"source":{"a":1},"kind":"done"}`, `{"v":1,"source":null}`, `{"v":1,"source":1,"source":2}`,
		`{"v":2}`, `{"v":"1"}`, `{"v":1.0}`, `{"v":1e0}`, `{"v":null}`, `{"v":-1}`, `{"v":99999999999999999999}`, `{"v":1} `, ` { "v" : 1 } `, `{"v":1}x`, `{"v":1`, ``, `[]`, `null`, `1`, `"v"`,
		`{"v":1,"epoch":18446744073709551615}`, `{"v":1,"epoch":18446744073709551616}`, `{"v":1,"epoch":-1}`, `{"v":1,"version":9223372036854775808}`, `{"v":1,"version":-9223372036854775808}`,
		`{"v":1,"deleted":1}`, `{"v":1,"deleted":false,"read":null,"again":"true"}`, `{"v":1,"id":1}`, `{"v":1,"id":null}`, `{"v":1,"id":{}}`,
		`{"v":1,"docs":null}`, `{"v":1,"docs":[]}`, `{"v":1,"docs":[null,{},{"index":"a","id":"b","x":[1,{}]}]}`, `{"v":1,"docs":{}}`, `{"v":1,"docs":[1]}`, `{"v":1,"docs":[{"id":1}]}`,
		`{"v":1,"state":[{"what":"index","name":"a","uuid":"u"},null]}`, `{"v":1,"state":"a"}`, `{"v":1,"state":[[]]}`,
		`{"v":1,"\u006bind":"d\u006fne","id":"\ud83d\ude00\ud83d","x":"\u2028"}`, "{\"v\":1,\"id\":\"\xff\"}", "{\"v\":1,\"id\":\"\n\"}",
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if loose(raw) || bytes.Count(raw, []byte("{"))+bytes.Count(raw, []byte("[")) > 1000 {
			return
		}
		want, wrong := decodeByReflection(raw)
		got, err := decode(raw)
		if (err == nil) != (wrong == nil) {
			t.Fatalf("%q: error %v, want %v", raw, err, wrong)
		}
		if err == nil && !sameRecord(got, want) {
			t.Fatalf("%q is read as\n%+v\nwant\n%+v", raw, got, want)
		}
	})
}

// loose reports whether a record has what nobody writes and encoding/json has ways of its own
// with: a member twice, or a known one in capitals.
func loose(raw []byte) (is bool) {
	if !json.Valid(raw) {
		return false
	}
	names := map[string]bool{}
	for _, typ := range []reflect.Type{reflect.TypeFor[record](), reflect.TypeFor[recordDoc](), reflect.TypeFor[stateRef](), reflect.TypeFor[asked]()} {
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			names[name] = true
		}
	}
	var look func(gjson.Result)
	look = func(value gjson.Result) {
		seen := map[string]bool{}
		value.ForEach(func(key, inner gjson.Result) bool {
			if value.IsObject() {
				is = is || seen[key.String()]
				seen[key.String()] = true
				for name := range names {
					is = is || name != key.String() && strings.EqualFold(name, key.String())
				}
			}
			if inner.IsObject() || inner.IsArray() {
				look(inner)
			}
			return true
		})
	}
	look(gjson.ParseBytes(raw))
	return is
}

// A record that ends anywhere but at its end is none.
func TestRecordsThatAreNotWhole(t *testing.T) {
	for _, k := range hotRecords() {
		raw := k.rec.encode()
		for n := 0; n < min(len(raw), 1000); n++ {
			if _, err := decode(raw[:n]); err == nil {
				t.Fatalf("%s was taken", raw[:n])
			}
		}
	}
}

// The error says what is wrong, and that a record is of a later version also if it is not
// understood otherwise.
func TestRecordErrors(t *testing.T) {
	for raw, want := range map[string]string{
		`{"v":1`:                    "not JSON",
		`[1]`:                       "another type",
		`{"v":1,"docs":[{"id":1}]}`: `"docs.id"`,
		`{"v":2,"kind":{}}`:         "version 2",
		`{"kind":"effect"}`:         "version 0",
	} {
		if _, err := decode([]byte(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", raw, err, want)
		}
	}
}

// The records that docs/design/journal.md shows are what is written.
func TestRecordsOfTheDesign(t *testing.T) {
	page, err := os.ReadFile("../docs/design/journal.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, `{"v":1`) {
			continue
		}
		n++
		rec, err := decode([]byte(line))
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		var shown, written any
		if json.Unmarshal([]byte(line), &shown) != nil || json.Unmarshal(rec.encode(), &written) != nil || !reflect.DeepEqual(shown, written) {
			t.Errorf("%s\nis written as\n%s", line, rec.encode())
		}
	}
	if n < 9 {
		t.Errorf("%d records", n)
	}
}
