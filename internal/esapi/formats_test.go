package esapi

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/tidwall/gjson"
)

// texts are JSON texts that come back from each format as they were.
var formatTexts = []string{
	`{}`, `[]`, `0`, `-1`, `15`, `16`, `-16`, `-17`, `23`, `24`, `255`, `256`, `65536`, `2147483648`, `-2147483649`, `9223372036854775807`,
	`-9223372036854775808`, `18446744073709551615`, `18446744073709551616`, `-18446744073709551617`, `123456789012345678901234567890`,
	`1.0`, `-0.5`, `0.1`, `1e+30`, `3.141592653589793`, `true`, `false`, `null`, `""`, `"a"`, `"ä"`, `"\"\\\n\t\r"`, `"\u0001"`, `"𝄞"`,
	`{"z":1,"a":{"":[],"b":[{},[1,2,[3]]]},"ä":"ö","` + strings.Repeat("k", 64) + `":1,"` + strings.Repeat("k", 65) + `":"` + strings.Repeat("v", 65) + `"}`,
	`{"` + strings.Repeat("ä", 28) + `":1,"` + strings.Repeat("ä", 29) + `":"` + strings.Repeat("ü", 32) + `","x":"` + strings.Repeat("ü", 33) + `"}`,
	`["` + strings.Repeat("long ä𝄞 ", 9000) + `",1]`, `["` + strings.Repeat("a", 64) + `","` + strings.Repeat("a", 63) + `"]`,
}

func printed(t *testing.T, text string, f Format, cut func(int) int) []byte {
	t.Helper()
	var b bytes.Buffer
	out := NewOutput(&b, OutputOptions{Format: f})
	for rest := []byte(text); len(rest) > 0; {
		n := cut(len(rest))
		if _, err := out.Write(rest[:n]); err != nil {
			t.Fatalf("%s as %s: %v", text, f, err)
		}
		rest = rest[n:]
	}
	if err := out.Close(); err != nil {
		t.Fatalf("%s as %s: %v", text, f, err)
	}
	return b.Bytes()
}

func whole(n int) int { return n }

func TestFormatsKeepValues(t *testing.T) {
	for _, text := range formatTexts {
		for _, f := range []Format{CBOR, SMILE} {
			for _, cut := range []func(int) int{whole, func(int) int { return 1 }, func(n int) int { return 1 + rand.IntN(n) }} {
				data := printed(t, text, f, cut)
				back, err := ToJSON(data, f, false, 1<<20)
				if err != nil {
					t.Fatalf("%.80s as %s (%x): %v", text, f, data[:min(len(data), 40)], err)
				}
				if string(back) != text {
					t.Errorf("%.80s as %s comes back as %.80s", text, f, back)
				}
			}
		}
	}
}

// TestCBORIsCBOR asks another implementation.
func TestCBORIsCBOR(t *testing.T) {
	mode, err := cbor.DecOptions{DefaultMapType: reflect.TypeFor[map[string]any](), IntDec: cbor.IntDecConvertSignedOrBigInt, BigIntDec: cbor.BigIntDecodePointer}.DecMode()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range formatTexts {
		var want, got any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if err := mode.Unmarshal(printed(t, text, CBOR, whole), &got); err != nil {
			t.Errorf("%.80s: %v", text, err)
			continue
		}
		asJSON, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var again any
		if err := json.Unmarshal(asJSON, &again); err != nil || !reflect.DeepEqual(again, want) {
			t.Errorf("%.80s is %.80s to the other implementation", text, asJSON)
		}
		theirs, err := cbor.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ToJSON(theirs, CBOR, false, 1<<20)
		if err != nil {
			t.Errorf("%.80s, written by the other implementation: %v", text, err)
			continue
		}
		var ours any
		if err := json.Unmarshal(back, &ours); err != nil || !reflect.DeepEqual(ours, want) {
			t.Errorf("%.80s, written by the other implementation, is read as %.80s", text, back)
		}
	}
}

func TestBodiesBecomeJSON(t *testing.T) {
	for _, test := range []struct {
		format     Format
		lines      bool
		body, want string // the body in hexadecimal unless it is YAML; no want: an error
	}{
		// What Elasticsearch 6.8 answered, with references to names seen before.
		{SMILE, false, "3a290a05fa83746f6f6bc28874696d65645f6f757422865f736861726473fa84746f74616cc2fbfb", `{"took":1,"timed_out":false,"_shards":{"total":1}}`},
		{SMILE, false, "3a290a01fa8061c28062fa40c441c6fbfb", `{"a":1,"b":{"a":2,"b":3}}`},
		{SMILE, false, "3a290a02f84061014162f9", ""},
		{SMILE, false, "3a290a02f8406101406202f9", `["a","a","b","b"]`},
		{SMILE, true, "3a290a00fa8061c2fbff3a290a00fa8061c4fbff", "{\"a\":1}\n{\"a\":2}\n"},
		{SMILE, true, "ff3a290a00fafbff", "\n{}\n"},
		{SMILE, false, "3a290a002a85836060", ""},
		{SMILE, false, "fa8061c2fb", ""},
		{SMILE, false, "3a290a10fafb", ""},
		{SMILE, false, "3a290a00fa8061c2fbc2", ""},
		{SMILE, false, "3a290a0040", ""},
		{SMILE, false, "3a290a00e0616263", ""},
		{SMILE, false, "3a290a0028036a33194d", `0.05`},
		{CBOR, false, "bf6161fb3fb999999999999a6162f93c00ff", `{"a":0.1,"b":1.0}`},
		{CBOR, false, "a20102f5f6", `{"1":2,"true":null}`},
		{CBOR, false, "7f6161626262ff", `"abb"`},
		{CBOR, false, "430102ff", `"AQL/"`},
		{CBOR, false, "c48221196ab3", `27315e-2`},
		{CBOR, false, "d9d9f700", `0`},
		{CBOR, false, "fa7f800000", `"Infinity"`},
		{CBOR, false, "1f", ""},
		{CBOR, false, "9b7fffffffffffffff", ""},
		{CBOR, false, "5b7fffffffffffffff00", ""},
		{CBOR, false, "a1f600", `{"null":0}`},
		{CBOR, false, "a18000", ""},
		{CBOR, false, "0000", ""},
		{CBOR, false, strings.Repeat("81", 2000) + "00", ""},
		{CBOR, true, "a0", ""},
		{YAML, true, "---\na: 1", ""},
		{YAML, false, "---\na: 1\nb: [yes, on, 2001-01-01, 0.5, 010, '2', ~, true, \"x\\ny\"]\nc:\n  - d: e\n", `{"a":1,"b":[true,true,"2001-01-01",0.5,8,"2",null,true,"x\ny"],"c":[{"d":"e"}]}`},
		{YAML, false, "a: &x [1]\nb: *x", ""},
		{YAML, false, "a: [", ""},
		{YAML, false, "", ""},
		// As 8.7.1 has them.
		{YAML, false, "a: 0x10\nb: +5\nc: 1_000\nd: no\ne: Off\nf: y\ng: .5\nh: 1.\ni: 1.5e+3\nj: 'no'\nk: 1:30\nl: 0xfg\nm: 1_", `{"a":16,"b":5,"c":1000,"d":false,"e":false,"f":"y","g":0.5,"h":1.0,"i":1.5e+3,"j":"no","k":"1:30","l":"0xfg","m":1.0}`},
		{YAML, false, "a: 1e5\nb: -0.0\nc: 12345678901234567890", `{"a":1e5,"b":-0.0,"c":12345678901234567890}`},
	} {
		body := []byte(test.body)
		if test.format != YAML {
			var err error
			if body, err = hex.DecodeString(test.body); err != nil {
				t.Fatal(err)
			}
		}
		got, err := ToJSON(body, test.format, test.lines, 1<<20)
		if string(got) != test.want {
			t.Errorf("%s %.60s gives %s, %v, wanted %s", test.format, test.body, got, err, test.want)
		}
		var own *Error
		if test.want == "" && len(body) > 0 && !errors.As(err, &own) {
			t.Errorf("%s %.60s gives %v, no answer for the client", test.format, test.body, err)
		}
	}
}

func TestBodiesAsJSONAreBounded(t *testing.T) {
	body := bytes.Repeat([]byte{0x61, 0x01}, 1000) // each becomes "\u0001"
	body = append(append([]byte{0x9f}, body...), 0xff)
	var own *Error
	if _, err := ToJSON(body, CBOR, false, 4000); !errors.As(err, &own) || own.Status != 413 {
		t.Errorf("a body that is too large as JSON gives %v", err)
	}
}

func FuzzToJSON(f *testing.F) {
	for _, text := range formatTexts {
		if len(text) > 1000 {
			continue
		}
		for _, format := range []Format{CBOR, SMILE} {
			var b bytes.Buffer
			out := NewOutput(&b, OutputOptions{Format: format})
			out.Write([]byte(text))
			out.Close()
			f.Add(b.Bytes())
		}
	}
	f.Add([]byte("---\na: [1, {b: c}]\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, format := range []Format{CBOR, SMILE, YAML} {
			for _, lines := range []bool{false, true} {
				got, err := ToJSON(body, format, lines, 1<<20)
				if err != nil || len(got) == 0 {
					continue
				}
				texts := [][]byte{got}
				if lines {
					texts = bytes.Split(bytes.TrimSuffix(got, []byte("\n")), []byte("\n"))
				}
				for _, text := range texts {
					if len(text) > 0 && !gjson.ValidBytes(text) {
						t.Fatalf("%s %x gives %s, which is no JSON", format, body, text)
					}
				}
			}
		}
	})
}

func FuzzFormatsKeepValues(f *testing.F) {
	for _, text := range formatTexts {
		f.Add(text, uint16(3))
	}
	f.Fuzz(func(t *testing.T, text string, piece uint16) {
		var b bytes.Buffer
		if out := NewOutput(&b, OutputOptions{}); !json.Valid([]byte(text)) || write(out, text) != nil || out.Close() != nil || b.Len() == 0 {
			return
		}
		for _, format := range []Format{CBOR, SMILE} {
			data := printed(t, text, format, func(n int) int { return min(n, int(piece)+1) })
			got, err := ToJSON(data, format, false, 100<<20)
			if err != nil {
				t.Fatalf("%s of %q: %v", format, text, err)
			}
			var want, back any
			d1, d2 := json.NewDecoder(strings.NewReader(text)), json.NewDecoder(bytes.NewReader(got))
			e1, e2 := d1.Decode(&want), d2.Decode(&back)
			if e1 == nil && (e2 != nil || !reflect.DeepEqual(want, back)) {
				t.Fatalf("%s of %q comes back as %q: %v", format, text, got, e2)
			}
		}
	})
}

func write(w interface{ Write([]byte) (int, error) }, s string) error {
	_, err := w.Write([]byte(s))
	return err
}
