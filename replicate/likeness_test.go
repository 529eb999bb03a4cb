package replicate

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

// What is read by its likeness to another record is what is read without that, whatever
// the bytes are.
func TestLikeness(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	pick := func(texts ...string) string { // mostly the first
		return texts[max(0, random.IntN(8*len(texts))-7*len(texts))]
	}
	effect := func() *record {
		r := &record{Kind: pick(kindEffect, kindDone), From: pick("a", "", `b"ä`), ID: pick("1", "some-id", `"`, `\`, "ü", "<>", "a\x01", ""),
			Index: pick("books", "b", ""), Type: pick("", "book"), Epoch: 1 + random.Uint64N(10)/9, Version: []int64{1, 17, 17, 17, 17, 0, -1, 1 << 62}[random.IntN(8)]}
		if random.IntN(5) > 0 {
			r.Source = []byte(pick(`{"a":1}`, `{"a":{"b":[1,2,{}]},"c":"}\""}`, `{}`, `null`, `{"a":1},"deleted":true`, `{"a":`, ``, ` {"a": 1} `))
		}
		if random.IntN(20) > 0 {
			r.Sent = []int64{1795318519249, 1795318519250, -1, 1 << 62}[max(0, random.IntN(32)-28)]
		}
		switch random.IntN(16) {
		case 0:
			r.Routing = "r"
		case 1:
			r.Parent = "p"
		case 2:
			r.Deleted = true
		case 3:
			r.Read = true
		case 4:
			r.Again = true
		}
		return r
	}
	var like likeness
	found, learned := 0, 0
	for range 100_000 {
		b := effect().encode()
		if random.IntN(4) == 0 {
			b[random.IntN(len(b))] = "\"\\{},0a \x00\xff:"[random.IntN(11)]
		}
		if random.IntN(10) == 0 {
			b = b[:random.IntN(len(b)+1)]
		}
		want, err := decode(b)
		got := record{ID: "as before"}
		switch is := like.read(&got, b); {
		case !is && got.ID != "as before":
			t.Fatalf("%s: %+v", b, got)
		case !is:
		case err != nil || !reflect.DeepEqual(&got, want):
			t.Fatalf("%s:\n%+v\n%+v %v", b, got, want, err)
		default:
			found++
		}
		if err == nil {
			like.learn(want)
			learned++
		}
	}
	if found < 1000 || learned < 10_000 {
		t.Errorf("%d of %d records were like the one before", found, learned)
	}
}

// So are the records of a bulk.
func TestRecordsOfABulkAreAlike(t *testing.T) {
	_, entries := newApplying(t)
	var like likeness
	var rec record
	alike := 0
	for i := range entries {
		if like.read(&rec, entries[i].Value) {
			alike++
		} else if err := decodeTo(&rec, entries[i].Value); err != nil {
			t.Fatal(err)
		} else {
			like.learn(&rec)
		}
	}
	if alike != applyingDocs-1 {
		t.Errorf("%d of %d", alike, applyingDocs)
	}
}
