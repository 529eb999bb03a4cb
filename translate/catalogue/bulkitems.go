package catalogue

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// bulkItems are the items of one bulk that need more than a translation: those
// that fail alone, without being sent, and those that are carried out only if the
// document still has the version the client gave (BULK-12).
type bulkItems struct {
	x       *Exchange
	seen    int // number of action lines that were visited
	special map[int]*bulkItem
	types   map[string]string // types of indices that this bulk creates
	hooked  bool
}

type bulkItem struct {
	op, index, id, routing string
	mappingType            string // to be shown, if the cluster shows types

	failure   *esapi.Error // the item is answered with this
	missing   bool         // the item deletes what is not there
	refreshed bool         // after that
	skipped   bool         // the item has an action that the client's version skips
	version   string       // the item is carried out only at this version
	placed    *placed      // the document gets members that stand for its type
}

const bulkItemsNote = "bulk items"

func bulkItemsOf(x *Exchange) *bulkItems {
	if b, ok := x.Noted(bulkItemsNote).(*bulkItems); ok {
		return b
	}
	b := &bulkItems{x: x, special: map[int]*bulkItem{}, types: map[string]string{}}
	x.Note(bulkItemsNote, b)
	return b
}

// next is the number of action lines so far.
func (b *bulkItems) next() int { return b.seen + b.x.RepeatedItems() }

// add makes the item whose metadata n is a special one.
func (b *bulkItems) add(x *Exchange, n *Node) *bulkItem {
	x.Alone()
	i := b.next() - 1
	if b.special[i] == nil {
		b.special[i] = &bulkItem{op: n.Name(), index: itemIndex(x, n), id: n.Get("_id").String(), routing: n.Get("routing").String()}
	}
	if !b.hooked {
		b.hooked = true
		x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
			return b.send(ctx, x, r, next)
		})
	}
	return b.special[i]
}

func (b *bulkItems) refuse(x *Exchange, n *Node, failure *esapi.Error) {
	b.add(x, n).failure = failure
}

// learn remembers the type of an index that the bulk is going to create.
func (b *bulkItems) learn(x *Exchange, index, t string) {
	b.types[index] = t
	learnAfterwards(x, index, t)
}

// send sends what is left of the bulk and puts the answers of the special items
// in their places.
func (b *bulkItems) send(ctx context.Context, x *Exchange, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	if n := countItems(r.Body); n != b.next() {
		// One of the lines is no action, so the numbers of those behind it are not
		// known: all versions refuse such a bulk as a whole.
		return nil, esapi.IllegalArgument("Malformed action/metadata line, expected one object with [create], [delete], [index] or [update]")
	}
	whole := &bulkAnswer{}
	for _, round := range b.rounds(r.Body) {
		failed, err := b.sendRound(ctx, x, r, round, whole, next)
		if failed != nil || err != nil {
			return failed, err
		}
	}
	if whole.items.Len() == 0 && b.next() > 0 {
		return nil, esapi.ValidationFailed("no requests added") // all were skipped
	}
	return esapi.NewResponse(http.StatusOK, whole.body()), nil
}

// A bulkRound is a run of items that are sent together.
type bulkRound struct {
	from, to int
	body     []byte
}

// maxRounds bounds into how many bulks one is cut.
const maxRounds = 100

// rounds cuts a bulk in front of the items whose condition is about a document
// that an earlier item may change: its version is known only then.
func (b *bulkItems) rounds(body []byte) []bulkRound {
	rounds := []bulkRound{{body: body}}
	changed := map[string]bool{}
	for i, rest := 0, body; len(rest) > 0; i++ {
		head, _, after := cutItem(rest)
		id := idOfItem(head)
		s := b.special[i]
		if last := &rounds[len(rounds)-1]; s != nil && s.version != "" && changed[id] && len(rounds) < maxRounds {
			last.to = i
			last.body = last.body[:len(last.body)-len(rest)]
			rounds = append(rounds, bulkRound{from: i, body: rest})
			clear(changed)
		}
		changed[id] = id != ""
		rest = after
	}
	rounds[len(rounds)-1].to = b.next()
	return rounds
}

// idOfItem is the id in an action line, "" if the cluster is to make one.
func idOfItem(head []byte) (id string) {
	gjson.ParseBytes(head).ForEach(func(_, meta gjson.Result) bool {
		id = meta.Get("_id").String()
		return false
	})
	return id
}

// sendRound sends some of the items. An answer that is given back is that of a
// bulk that failed as a whole.
func (b *bulkItems) sendRound(ctx context.Context, x *Exchange, r *esapi.Request, round bulkRound, whole *bulkAnswer, next esapi.Sender) (*esapi.Response, error) {
	if err := b.compareVersions(ctx, x, round, next); err != nil {
		return nil, err
	}
	var answer gjson.Result
	if body := b.rest(round); len(body) > 0 {
		sent := *r
		sent.Body = body
		a, err := next.Send(ctx, &sent)
		if err != nil {
			return nil, err
		}
		if a.Status >= 300 {
			return a, nil
		}
		defer a.Body.Close()
		data, err := io.ReadAll(a.Body)
		if err != nil {
			return nil, fmt.Errorf("reading the answer to a bulk: %w", err)
		}
		answer = gjson.ParseBytes(data)
	}
	b.merge(round, answer, whole)
	return nil, nil
}

// rest is the body without the items that have failed, and with the condition in
// those that are compared.
func (b *bulkItems) rest(round bulkRound) []byte {
	var rest []byte
	body := round.body
	for i := round.from; len(body) > 0; i++ {
		head, source, after := cutItem(body)
		body = after
		s := b.special[i]
		switch {
		case s == nil:
			rest = append(append(rest, head...), source...)
		case s.sent():
			if s.placed != nil {
				source = append(bytes.Clone(s.placed.inBody(s.op, bytes.TrimRight(source, "\r\n"))), '\n')
			}
			rest = append(append(rest, s.conditional(head)...), source...)
		}
	}
	return rest
}

func countItems(body []byte) int {
	n := 0
	for ; len(body) > 0; n++ {
		_, _, body = cutItem(body)
	}
	return n
}

// cutItem cuts the first item off a body of lines that all end in a newline.
func cutItem(body []byte) (head, source, rest []byte) {
	head, rest = cutLine(body)
	follows := true
	gjson.ParseBytes(head).ForEach(func(key, _ gjson.Result) bool {
		follows = key.String() != "delete"
		return false
	})
	if follows {
		source, rest = cutLine(rest)
	}
	return head, source, rest
}

func cutLine(b []byte) (line, rest []byte) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i+1], b[i+1:]
	}
	return b, nil
}

// A bulkAnswer is put together from those of the rounds.
type bulkAnswer struct {
	took   int64
	failed bool
	items  bytes.Buffer
}

func (a *bulkAnswer) add(item string) {
	if a.items.Len() > 0 {
		a.items.WriteByte(',')
	}
	a.items.WriteString(item)
}

func (a *bulkAnswer) body() []byte {
	return fmt.Appendf(nil, `{"took":%d,"errors":%t,"items":[%s]}`, a.took, a.failed, a.items.Bytes())
}

// merge adds the answers of a round's items.
func (b *bulkItems) merge(round bulkRound, answer gjson.Result, whole *bulkAnswer) {
	sent := answer.Get("items").Array()
	whole.took += answer.Get("took").Int()
	whole.failed = whole.failed || answer.Get("errors").Bool()
	for i := round.from; i < round.to; i++ {
		if s := b.special[i]; s != nil && s.skipped {
			continue
		} else if s != nil && !s.sent() {
			whole.failed = whole.failed || s.failure != nil
			whole.add(s.answer())
		} else if len(sent) > 0 {
			whole.add(sent[0].Raw)
			sent = sent[1:]
		}
	}
}

// findsNothing says that the item deletes a document of a type that the index does not
// have.
func (s *bulkItem) findsNothing(x *Exchange, mappingType string) {
	s.missing, s.mappingType = true, mappingType
	s.refreshed = x.Params.Bool("refresh")
}

// sent reports whether the item goes to the cluster.
func (s *bulkItem) sent() bool { return s.failure == nil && !s.missing && !s.skipped }

func (s *bulkItem) answer() string {
	typ := ""
	if s.mappingType != "" {
		typ = `"_type":` + translate.Quote(s.mappingType) + `,`
	}
	if s.missing {
		refreshed := ""
		if s.refreshed {
			refreshed = `"forced_refresh":true,`
		}
		return fmt.Sprintf(`{%s:{"_index":%s,%s"_id":%s,"_version":1,"result":"not_found",%s"_shards":{"total":1,"successful":1,"failed":0},"status":404}}`,
			translate.Quote(s.op), translate.Quote(s.index), typ, translate.Quote(s.id), refreshed)
	}
	return fmt.Sprintf(`{%s:{"_index":%s,%s"_id":%s,"status":%d,"error":%s}}`, translate.Quote(s.op),
		translate.Quote(s.index), typ, translate.Quote(s.id), s.failure.Status, s.failure.ObjectJSON())
}

// compareVersions reads the documents of the items with a version and decides
// which of them still have it.
func (b *bulkItems) compareVersions(ctx context.Context, x *Exchange, round bulkRound, next esapi.Sender) error {
	type doc struct {
		Index   string `json:"_index"`
		ID      string `json:"_id"`
		Routing string `json:"routing,omitempty"`
		Source  bool   `json:"_source"`
	}
	var docs []doc
	var asked []*bulkItem
	for i := round.from; i < round.to; i++ {
		if s := b.special[i]; s != nil && s.version != "" && s.sent() {
			docs = append(docs, doc{Index: s.index, ID: s.id, Routing: s.routing})
			asked = append(asked, s)
		}
	}
	if len(docs) == 0 {
		return nil
	}
	body, err := json.Marshal(map[string]any{"docs": docs})
	if err != nil {
		return err
	}
	a, err := next.Send(ctx, esapi.NewRequest("POST", "/_mget", body))
	if err != nil {
		return err
	}
	defer a.Body.Close()
	data, err := io.ReadAll(a.Body)
	if err != nil {
		return fmt.Errorf("reading the versions of a bulk's documents: %w", err)
	}
	found := gjson.GetBytes(data, "docs").Array()
	if len(found) != len(asked) {
		return esapi.Unavailable("the versions of a bulk's documents could not be read; what stands in front of them in the bulk may have been written")
	}
	for i, s := range asked {
		s.compare(x, found[i])
	}
	return nil
}

// compare decides whether the item goes on, with the sequence number as its
// condition.
func (s *bulkItem) compare(x *Exchange, found gjson.Result) {
	if v := found.Get("_version").Raw; v != s.version {
		s.failure = versionConflict(x, s.index, s.id, v, s.version)
		return
	}
	s.version = `"if_seq_no":` + found.Get("_seq_no").Raw + `,"if_primary_term":` + found.Get("_primary_term").Raw
}

// conditional is an action line with the condition in it, if there is one. Of
// several actions in a line the first counts.
func (s *bulkItem) conditional(head []byte) []byte {
	if s.version == "" {
		return head
	}
	var line []byte
	gjson.ParseBytes(head).ForEach(func(op, meta gjson.Result) bool {
		members := strings.TrimRight(strings.TrimSuffix(meta.Raw, "}"), " \t")
		if members != "{" {
			members += ","
		}
		line = []byte("{" + op.Raw + ":" + members + s.version + "}}\n")
		return false
	})
	return line
}
