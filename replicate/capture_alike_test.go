package replicate

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// AppendAll implements journal.Batcher.
func (j *promptJournal) AppendAll(_ []journal.Record, done func(error)) error {
	j.landed <- func(_ journal.Position, err error) { done(err) }
	return nil
}

// Lines and items that are like those before them are read as if they stood alone: all that
// may differ between two of them is varied here.
func TestAlike(t *testing.T) {
	c := &capture{r: &Replicator{cfg: Config{}.withDefaults(), ids: newIDMaker()}}
	one := func(from []string) string { return from[rand.IntN(len(from))] }
	ids := []string{`"1"`, `"2"`, `"some-id-17"`, `"\u0031"`, `"a\"b"`, `"a\\nb"`, `"ä"`, `""`, `3`, `null`}
	lines := []string{`{"index":{"_id":ID}}`, `{"index":{"_id":ID,"_index":"books"}}`, `{"index":{"_index":"books","_id":ID,"routing":"r"}}`, `{"index":{}}`,
		`{"create":{"_id":ID}}`, `{"index":{"_id":ID,"version":7,"version_type":"external"}}`, `{"index":{"_id":ID,"version":8,"version_type":"external_gte"}}`,
		`{"delete":{"_id":ID}}`, `{"update":{"_id":ID}}`, `{"update":{"_id":ID,"_source":false}}`, `{"index":{"_id":"x","_id":ID}}`, ` {"index" : {"_id" : ID}} `,
		`{"index":{"_id":ID,"pipeline":"p"}}`, `{"index":{"_type":"t","_id":ID,"parent":"p"}}`}
	items := []string{
		`{"OP":{"_index":"books","_id":ID,"_version":V,"result":"created","_shards":{"total":2,"failed":0},"_seq_no":S,"_primary_term":1,"status":201}}`,
		`{"OP":{"_index":"books","_id":ID,"_version":V,"result":"updated","_shards":{"total":2,"failed":0},"_seq_no":S,"_primary_term":1,"status":200}}`,
		`{"OP":{"_index":"books-2","_type":"t","_id":ID,"_version":V,"result":"created","created":true,"status":201}}`,
		`{"OP":{"_index":"books","_id":ID,"_version":V,"result":"noop","_seq_no":S,"get":{"found":true,"_source":{"a":1}},"status":200}}`,
		`{"OP":{"_index":"books","_id":ID,"_version":V,"_version":V,"result":"deleted","status":404}}`,
		`{"OP":{"_index":"books","_id":ID,"status":400,"error":{"type":"x"}}}`,
		` { "OP" : {"_index":"books","_id": ID ,"_version": V ,"result":"created","_seq_no": S ,"status":201}}`,
	}
	numbers := []string{"1", "7", "12", "999999999999999999", "9223372036854775807", "9223372036854775808", "-1", "0", "01", "1.5", `"1"`}
	for range 3000 {
		var body, answer []string
		some := []string{one(lines), one(lines), one(lines)}
		shapes := []string{one(items), one(items), one(items)}
		for range 8 {
			id := one(ids)
			line := strings.Replace(one(some), "ID", id, 1)
			body = append(body, line)
			if !strings.Contains(line, "delete") {
				body = append(body, `{"n":1}`)
			}
			if rand.IntN(4) == 0 {
				id = one(ids)
			}
			item := strings.NewReplacer("ID", id, "V", one(numbers), "S", one(numbers), "OP", one([]string{"index", "index", "update"})).Replace(one(shapes))
			answer = append(answer, item)
		}
		checkAlike(t, c, strings.Join(body, "\n")+"\n", `{"took":1,"items":[`+strings.Join(answer, ",")+`],"errors":false}`)
		if t.Failed() {
			return
		}
	}
}

// checkAlike reads the lines of a bulk, and the items of an answer, together and one by one.
func checkAlike(t *testing.T, c *capture, body, answer string) {
	t.Helper()
	e := esapi.Endpoint{API: "bulk", Index: "i"}
	together := esapi.NewRequest("POST", "/i/_bulk", []byte(body))
	writes, err := c.readBulk(together, e, new(room))
	if err != nil {
		return
	}
	var sent []byte
	n := 0
	for rest := []byte(body); len(rest) > 0; n++ {
		_, next := cutLine(rest, 0)
		if len(bytes.TrimSpace(rest[:next])) == 0 {
			sent, rest = append(sent, rest[:next]...), rest[next:]
			n--
			continue
		}
		if n == len(writes) {
			t.Fatalf("%q has only %d writes", body, n)
		}
		if writes[n].op != "delete" {
			_, more := cutLine(rest[next:], 0)
			next += more
		}
		req := esapi.NewRequest("POST", "/i/_bulk", bytes.Clone(rest[:next]))
		alone, err := c.readBulk(req, e, new(room))
		if err != nil || len(alone) != 1 {
			t.Fatalf("%q: %v", rest[:next], err)
		}
		got, want := writes[n], alone[0]
		sent = append(sent, strings.Replace(string(req.Body), want.doc.ID, got.doc.ID, 1)...)
		if want.doc.ID != got.doc.ID && (len(want.doc.ID) != 20 || len(got.doc.ID) != 20) {
			t.Fatalf("%q: %+v, alone %+v", rest[:next], got.doc, want.doc)
		}
		want.doc.ID, want.at = got.doc.ID, got.at
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %+v %+v, alone %+v %+v", rest[:next], got, got.doc, want, want.doc)
		}
		if got.source != nil && !bytes.Equal(together.Body[got.at:][:len(got.source)], got.source) {
			t.Fatalf("%q: the source of write %d is not where it stands", together.Body, n)
		}
		rest = rest[next:]
	}
	if !bytes.Equal(sent, together.Body) && !together.Params.Has("_source") {
		t.Fatalf("%q became %q, alone %q", body, together.Body, sent)
	}

	items, ok := readItems([]byte(answer), writes, new(desk))
	if !ok {
		return
	}
	i := 0
	gjson.Get(answer, "items").ForEach(func(_, raw gjson.Result) bool {
		text := `{"items":[` + raw.Raw + `]}`
		alone, ok := readItems([]byte(text), writes[i:i+1], new(desk))
		if !ok || len(alone) != 1 {
			t.Fatalf("%s alone: %v", raw.Raw, ok)
		}
		got, want := items[i], alone[0]
		if (got.get.end > 0) != (want.get.end > 0) || got.get.end > 0 && answer[got.get.start:got.get.end] != text[want.get.start:want.get.end] {
			t.Fatalf("%s: %v, alone %v", raw.Raw, got.get, want.get)
		}
		got.get = want.get
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: %+v, alone %+v", raw.Raw, got, want)
		}
		i++
		return true
	})
}

// An answer that is like JSON, but for a number, is none.
func TestAlikeIsJSON(t *testing.T) {
	item := `{"index":{"_index":"books","_id":"1","_version":%s,"result":"created","_seq_no":%s,"status":201}}`
	writes := []write{{op: "index", doc: &recordDoc{Index: "books", ID: "1"}}, {op: "index", doc: &recordDoc{Index: "books", ID: "1"}}}
	for number, want := range map[string]bool{"2": true, "0": true, "02": false, "": false, "2x": false, "1234567890123456789012": true} {
		for _, second := range []string{fmt.Sprintf(item, number, "1"), fmt.Sprintf(item, "1", number)} {
			answer := `{"items":[` + fmt.Sprintf(item, "1", "1") + "," + second + `]}`
			if _, ok := readItems([]byte(answer), writes, new(desk)); ok != want || esapi.ValidJSON([]byte(answer)) != want {
				t.Errorf("%s: %v", answer, ok)
			}
		}
	}
}

// Effects that go together are encoded as each alone is.
func TestEncodedTogether(t *testing.T) {
	var records []*record
	for _, k := range hotRecords() {
		records = append(records, k.rec)
	}
	for i := range 20 {
		rec := &record{Kind: kindEffect, From: "a", Epoch: uint64(i / 7), ID: fmt.Sprint(i), Index: fmt.Sprint("books-", i/3), Type: []string{"", "t"}[i%2], Version: int64(i), Source: []byte(`{"a":1}`)}
		if i%5 == 0 {
			rec.Source, rec.Deleted, rec.Routing = nil, true, "<r>"
		}
		records = append(records, rec)
	}
	records = append(records, &record{Kind: kindState, From: "a", What: whatIndex, Name: "books"}, records[0], &record{Kind: kindEffect, From: "b", ID: "1", Index: `"`})
	var e encoding
	for range 2 {
		e.encode(records, 10)
		for i, rec := range records {
			if want := rec.encode(); !bytes.Equal(e.records[i].Value, want) || e.records[i].Key != rec.key() {
				t.Errorf("%s\nis not\n%s", e.records[i].Value, want)
			}
		}
	}
}

// A bulk that finds all desks taken is worked on all the same, after a while.
func TestNoDeskIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newDesks()
		var taken []*desk
		for range cap(all) {
			taken = append(taken, all.take())
		}
		done := make(chan *desk)
		go func() { done <- all.take() }()
		synctest.Wait() // it waits
		all.giveBack(taken[0])
		if d := <-done; d != taken[0] {
			t.Error("it got another desk than the one that became free")
		}
		more := all.take()
		for _, d := range append(taken, more) {
			all.giveBack(d)
		}
		if len(all) != cap(all) {
			t.Errorf("%d desks of %d", len(all), cap(all))
		}
		large := all.take()
		large.records(roomDocs + 1)
		all.giveBack(large)
		for range cap(all) {
			if d := all.take(); cap(d.made) > roomDocs {
				t.Error("a large one was kept")
			}
		}
	})
}
