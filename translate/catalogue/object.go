package catalogue

import (
	"fmt"
	"io"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// An object is a small JSON object that a rule puts together: its members keep
// their order, their values are raw JSON.
type object struct {
	keys   []string
	values map[string]string
}

func (o *object) has(key string) bool { _, ok := o.values[key]; return ok }

func (o *object) set(key, raw string) {
	if o.values == nil {
		o.values = map[string]string{}
	}
	if !o.has(key) {
		o.keys = append(o.keys, key)
	}
	o.values[key] = raw
}

func (o *object) drop(key string) {
	if o.has(key) {
		delete(o.values, key)
		for i, k := range o.keys {
			if k == key {
				o.keys = append(o.keys[:i], o.keys[i+1:]...)
				return
			}
		}
	}
}

func (o *object) len() int { return len(o.keys) }

// addAll takes over the members of a JSON object; of what is none, nothing.
func (o *object) addAll(from gjson.Result) {
	if !from.IsObject() {
		return
	}
	from.ForEach(func(key, value gjson.Result) bool {
		o.set(key.String(), value.Raw)
		return true
	})
}

func (o *object) String() string {
	var b strings.Builder
	b.WriteByte('{')
	for i, k := range o.keys {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(translate.Quote(k))
		b.WriteByte(':')
		b.WriteString(o.values[k])
	}
	b.WriteByte('}')
	return b.String()
}

// member is the last member of an object with a key that may be anything.
func member(o gjson.Result, key string) (found gjson.Result) {
	if o.IsObject() {
		o.ForEach(func(k, v gjson.Result) bool {
			if k.String() == key {
				found = v
			}
			return true
		})
	}
	return found
}

// edit changes what stands under a member of n.
func edit(n *Node, key string, do func(inner *Node)) {
	v := n.Get(key)
	if !v.Exists() {
		return
	}
	inner := translate.NewNode(v.Raw)
	if do(inner); inner.Changed() {
		n.Set(key, inner.Raw())
	}
}

// editEach changes the elements of a list under a member of n, or the one that
// stands there without a list.
func editEach(n *Node, key string, do func(inner *Node)) {
	v := n.Get(key)
	if !v.IsArray() {
		edit(n, key, do)
		return
	}
	var b strings.Builder
	changed := false
	v.ForEach(func(_, e gjson.Result) bool {
		inner := translate.NewNode(e.Raw)
		do(inner)
		changed = changed || inner.Changed()
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(inner.Raw())
		return true
	})
	if changed {
		n.Set(key, "["+b.String()+"]")
	}
}

// maxHeld bounds what a rule reads of an answer, in bytes.
const maxHeld = 16 << 20

// readAll reads and closes the body of an answer.
func readAll(a *esapi.Response) ([]byte, error) {
	defer a.Body.Close()
	body, err := io.ReadAll(io.LimitReader(a.Body, maxHeld+1))
	if err == nil && len(body) > maxHeld {
		err = fmt.Errorf("the answer is larger than %d bytes", maxHeld)
	}
	return body, err
}
