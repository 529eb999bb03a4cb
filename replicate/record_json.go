package replicate

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// Records are written and read without reflection: each write has three of them, and the
// applier reads them all again. The bytes are those that encoding/json makes of a record.

// recordVersion is the version of the format.
const recordVersion = 1

// encode makes the record's bytes.
func (r *record) encode() []byte { return r.appendTo(make([]byte, 0, r.room())) }

// room is about how long the record is when it is encoded: longer only if there is much
// to escape.
func (r *record) room() int {
	n := len(`{"v":1,"kind":"","source":}`) + len(r.Kind) + len(r.Source) +
		roomOf(r.From, r.ID, r.Gateway, r.Index, r.Type, r.Routing, r.Parent, r.What, r.Name)
	for _, number := range [...]bool{r.Epoch != 0, r.Until != 0, r.Version != 0, r.Sent != 0, r.Deleted, r.Read, r.Again} {
		if number {
			n += 24
		}
	}
	for i := range r.Docs {
		d := &r.Docs[i]
		n += len(`{"index":"","id":""},`) + len(d.Index) + len(d.ID) + roomOf(d.Type, d.Routing, d.Parent, d.On, d.OnRouting, d.Taught)
	}
	for i := range r.State {
		s := &r.State[i]
		n += 12 + roomOf(s.What, s.Name, s.UUID, s.Taught)
	}
	return n
}

// roomOf is the room of members that are texts.
func roomOf(texts ...string) (n int) {
	for _, t := range texts {
		if t != "" {
			n += len(t) + len(`,"on_routing":""`)
		}
	}
	return n
}

// appendTo appends the record's bytes.
func (r *record) appendTo(b []byte) []byte {
	r.V = recordVersion
	b = r.appendHead(b)
	b = appendMember(b, `,"id":`, r.ID)
	b = appendMember(b, `,"gateway":`, r.Gateway)
	if r.Until != 0 {
		b = strconv.AppendInt(append(b, `,"until":`...), r.Until, 10)
	}
	if len(r.Docs) > 0 {
		b = append(b, `,"docs":[`...)
		for i := range r.Docs {
			b = append(r.Docs[i].appendTo(b), ',')
		}
		b[len(b)-1] = ']'
	}
	if len(r.State) > 0 {
		b = append(b, `,"state":[`...)
		for i := range r.State {
			b = append(r.State[i].appendTo(b), ',')
		}
		b[len(b)-1] = ']'
	}
	b = appendMember(b, `,"index":`, r.Index)
	return r.appendRest(b)
}

// appendHead appends what stands before the id.
func (r *record) appendHead(b []byte) []byte {
	b = append(b, `{"v":1,"kind":`...)
	b = appendText(b, r.Kind)
	b = appendMember(b, `,"from":`, r.From)
	if r.Epoch != 0 {
		b = strconv.AppendUint(append(b, `,"epoch":`...), r.Epoch, 10)
	}
	return b
}

// appendRest appends what stands behind the index.
func (r *record) appendRest(b []byte) []byte {
	b = appendMember(b, `,"type":`, r.Type)
	b = appendMember(b, `,"routing":`, r.Routing)
	b = appendMember(b, `,"parent":`, r.Parent)
	if r.Version != 0 {
		b = strconv.AppendInt(append(b, `,"version":`...), r.Version, 10)
	}
	if r.Sent != 0 {
		b = strconv.AppendInt(append(b, `,"sent":`...), r.Sent, 10)
	}
	if r.Deleted {
		b = append(b, `,"deleted":true`...)
	}
	if r.Read {
		b = append(b, `,"read":true`...)
	}
	if r.Again {
		b = append(b, `,"again":true`...)
	}
	b = appendMember(b, `,"what":`, r.What)
	b = appendMember(b, `,"name":`, r.Name)
	if r.Source != nil {
		b = append(append(b, `,"source":`...), r.Source...)
	}
	return append(b, '}')
}

func (d *recordDoc) appendTo(b []byte) []byte {
	b = appendText(append(b, `{"index":`...), d.Index)
	b = appendMember(b, `,"type":`, d.Type)
	b = appendText(append(b, `,"id":`...), d.ID)
	b = appendMember(b, `,"routing":`, d.Routing)
	b = appendMember(b, `,"parent":`, d.Parent)
	b = appendMember(b, `,"on":`, d.On)
	b = appendMember(b, `,"on_routing":`, d.OnRouting)
	b = appendMember(b, `,"taught":`, d.Taught)
	return append(b, '}')
}

func (s *asked) appendTo(b []byte) []byte {
	b = appendText(append(b, `{"what":`...), s.What)
	b = appendText(append(b, `,"name":`...), s.Name)
	b = appendMember(b, `,"uuid":`, s.UUID)
	b = appendMember(b, `,"taught":`, s.Taught)
	return append(b, '}')
}

// appendMember appends a member whose value is a text, unless that is empty.
func appendMember(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	return appendText(append(b, name...), text)
}

// appendText appends a JSON string.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	plain := 0 // from here on nothing was to be escaped
	for i := 0; i < len(s); {
		c := s[i]
		if isLiteral[c] {
			i++
			continue
		}
		n := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, n = utf8.DecodeRuneInString(s[i:]); (r != utf8.RuneError || n > 1) && r != '\u2028' && r != '\u2029' {
				i += n
				continue
			}
		}
		b = append(b, s[plain:i]...)
		b = appendEscaped(b, s[i:i+n])
		i += n
		plain = i
	}
	return append(append(b, s[plain:]...), '"')
}

// isLiteral has the bytes that stand for themselves wherever they are: less than with esapi.IsPlain, as
// encoding/json escapes more.
var isLiteral = func() (plain [256]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		plain[c] = !strings.ContainsRune(`"\<>&`, rune(c))
	}
	return plain
}()

// appendEscaped appends one character, or one byte that is none, by its escape.
func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	switch c := s[0]; c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, `\b`...)
	case '\f':
		return append(b, `\f`...)
	case '\n':
		return append(b, `\n`...)
	case '\r':
		return append(b, `\r`...)
	case '\t':
		return append(b, `\t`...)
	}
	r, _ := utf8.DecodeRuneInString(s)
	return append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// A decoder reads one record.
type decoder struct {
	esapi.Cursor
	wrong string // the first member that is of another type
}

// decode reads a record, which goes on using b for its source. A record of a later version
// is an error, so that nothing is skipped that is not understood. Members that are not
// known are left out, and also what stands behind the source.
func decode(b []byte) (*record, error) {
	r := &record{}
	if err := decodeTo(r, b); err != nil {
		return nil, err
	}
	return r, nil
}

// decodeTo is decode into a record that may have been another one before.
func decodeTo(r *record, b []byte) error {
	*r = record{}
	d := decoder{Cursor: esapi.NewCursor(b)}
	d.Copy = headOf(b)
	if d.Peek() != '{' {
		d.wrong = "all"
		d.Skip()
	} else {
		d.record(r)
	}
	switch {
	case !d.End():
		return errors.New("the record is not JSON")
	case r.V > recordVersion, r.V != recordVersion && d.wrong == "":
		return fmt.Errorf("the record has version %d; this esperanto reads version %d", r.V, recordVersion)
	case d.wrong != "":
		return fmt.Errorf("the record cannot be read: %s is of another type", strconv.Quote(d.wrong))
	}
	return nil
}

// headOf is a copy of what stands before the source, which is short unless the record is
// an intent. The texts of the record are made of it.
func headOf(b []byte) string {
	if i := bytes.Index(b, sourceMember); i >= 0 {
		return string(b[:i])
	}
	return string(b)
}

var sourceMember = []byte(`,"source":`)

func (d *decoder) record(r *record) {
	d.Open('{')
	for key, ok := d.Key(); ok; key, ok = d.Key() {
		if r.Source != nil {
			d.Skip()
			continue
		}
		switch string(key) {
		case "v":
			var v int64
			d.integer("v", &v)
			r.V = int(v)
		case "kind":
			d.text("kind", &r.Kind)
		case "from":
			d.text("from", &r.From)
		case "epoch":
			d.epoch(&r.Epoch)
		case "id":
			d.text("id", &r.ID)
		case "gateway":
			d.text("gateway", &r.Gateway)
		case "until":
			d.integer("until", &r.Until)
		case "docs":
			d.docs(&r.Docs)
		case "state":
			d.state(&r.State)
		case "index":
			d.text("index", &r.Index)
		case "type":
			d.text("type", &r.Type)
		case "routing":
			d.text("routing", &r.Routing)
		case "parent":
			d.text("parent", &r.Parent)
		case "version":
			d.integer("version", &r.Version)
		case "sent":
			d.integer("sent", &r.Sent)
		case "deleted":
			d.flag("deleted", &r.Deleted)
		case "read":
			d.flag("read", &r.Read)
		case "again":
			d.flag("again", &r.Again)
		case "what":
			d.text("what", &r.What)
		case "name":
			d.text("name", &r.Name)
		case "source":
			r.Source = d.Skip()
		default:
			d.Skip()
		}
	}
}

func (d *decoder) docs(to *[]recordDoc) {
	if !d.Open('[') {
		*to = nil
		d.nothing("docs")
		return
	}
	docs := make([]recordDoc, 0, min(strings.Count(d.Copy[min(d.Pos(), len(d.Copy)):], `{"index":`), intentDocs))
	for d.Item() {
		docs = append(docs, recordDoc{})
		doc := &docs[len(docs)-1]
		if !d.Open('{') {
			d.nothing("docs")
			continue
		}
		for key, ok := d.Key(); ok; key, ok = d.Key() {
			switch string(key) {
			case "index":
				d.text("docs.index", &doc.Index)
			case "type":
				d.text("docs.type", &doc.Type)
			case "id":
				d.text("docs.id", &doc.ID)
			case "routing":
				d.text("docs.routing", &doc.Routing)
			case "parent":
				d.text("docs.parent", &doc.Parent)
			case "on":
				d.text("docs.on", &doc.On)
			case "on_routing":
				d.text("docs.on_routing", &doc.OnRouting)
			case "taught":
				d.text("docs.taught", &doc.Taught)
			default:
				d.Skip()
			}
		}
	}
	*to = docs
}

func (d *decoder) state(to *[]asked) {
	if !d.Open('[') {
		*to = nil
		d.nothing("state")
		return
	}
	var all []asked
	for d.Item() {
		var part asked
		if !d.Open('{') {
			d.nothing("state")
			all = append(all, part)
			continue
		}
		for key, ok := d.Key(); ok; key, ok = d.Key() {
			switch string(key) {
			case "what":
				d.text("state.what", &part.What)
			case "name":
				d.text("state.name", &part.Name)
			case "uuid":
				d.text("state.uuid", &part.UUID)
			case "taught":
				d.text("state.taught", &part.Taught)
			default:
				d.Skip()
			}
		}
		all = append(all, part)
	}
	*to = all
}

// nothing passes a null, which leaves a member as it is. All else is wrong.
func (d *decoder) nothing(member string) {
	if d.Peek() != 'n' && d.wrong == "" {
		d.wrong = member
	}
	d.Skip()
}

func (d *decoder) text(member string, to *string) {
	if d.Peek() != '"' {
		d.nothing(member)
		return
	}
	*to = d.Text()
}

func (d *decoder) integer(member string, to *int64) {
	if c := d.Peek(); c != '-' && (c < '0' || c > '9') {
		d.nothing(member)
		return
	}
	n, ok := d.Int()
	if !ok && d.wrong == "" {
		d.wrong = member
	}
	*to = n
}

func (d *decoder) epoch(to *uint64) {
	if c := d.Peek(); c < '0' || c > '9' {
		d.nothing("epoch")
		return
	}
	n, err := strconv.ParseUint(string(d.Skip()), 10, 64)
	if err != nil && d.wrong == "" {
		d.wrong = "epoch"
	}
	*to = n
}

func (d *decoder) flag(member string, to *bool) {
	c := d.Peek()
	if c != 't' && c != 'f' {
		d.nothing(member)
		return
	}
	d.Skip()
	*to = c == 't'
}
