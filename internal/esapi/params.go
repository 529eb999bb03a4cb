package esapi

import (
	"net/url"
	"strings"
)

// Params are the query parameters of a request in the order they came. A
// parameter without "=" (?pretty) keeps that form.
type Params struct {
	list []param
	mods int
}

// Mods counts the changes made so far; who wants to know whether something
// changed compares two counts.
func (p *Params) Mods() int { return p.mods }

type param struct {
	key, value string
	bare       bool
}

// ParseParams reads a raw query string. What cannot be percent-decoded is
// kept as it stands: the cluster says what is wrong with it.
func ParseParams(raw string) Params {
	var p Params
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		key, value, hasValue := strings.Cut(pair, "=")
		p.list = append(p.list, param{key: unescape(key), value: unescape(value), bare: !hasValue})
	}
	return p
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// Len is the number of parameters.
func (p *Params) Len() int { return len(p.list) }

// Keys returns the names in the order in which they came last, each once.
func (p *Params) Keys() []string {
	var keys []string
	for i, q := range p.list {
		if p.find(q.key) == i {
			keys = append(keys, q.key)
		}
	}
	return keys
}

// find finds the last one of a name: that is the one which Elasticsearch takes.
func (p *Params) find(key string) int {
	for i := len(p.list) - 1; i >= 0; i-- {
		if p.list[i].key == key {
			return i
		}
	}
	return -1
}

// Has reports whether the parameter was given, with or without a value.
func (p *Params) Has(key string) bool { return p.find(key) >= 0 }

// Get returns the value of a parameter, "" if it is absent or bare.
func (p *Params) Get(key string) string {
	if i := p.find(key); i >= 0 {
		return p.list[i].value
	}
	return ""
}

// Bool reads a boolean parameter as Elasticsearch does: a bare one is true.
func (p *Params) Bool(key string) bool {
	i := p.find(key)
	return i >= 0 && (p.list[i].bare || p.list[i].value == "" || p.list[i].value == "true")
}

// Set gives a parameter a value in its place, or appends it.
func (p *Params) Set(key, value string) {
	p.mods++
	if i := p.find(key); i >= 0 {
		p.list[i] = param{key: key, value: value}
		return
	}
	p.list = append(p.list, param{key: key, value: value})
}

// Drop removes a parameter and reports whether it was there.
func (p *Params) Drop(key string) bool {
	n := 0
	for _, q := range p.list {
		if q.key != key {
			p.list[n] = q
			n++
		}
	}
	dropped := n < len(p.list)
	p.list = p.list[:n]
	if dropped {
		p.mods++
	}
	return dropped
}

// Rename gives a parameter another name, keeping value and place. It reports
// whether the parameter was there.
func (p *Params) Rename(from, to string) bool {
	i := p.find(from)
	if i < 0 {
		return false
	}
	p.list[i].key = to
	p.mods++
	return true
}

// Encode returns the raw query string.
func (p *Params) Encode() string {
	var b strings.Builder
	for i, q := range p.list {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(q.key))
		if !q.bare {
			b.WriteByte('=')
			b.WriteString(url.QueryEscape(q.value))
		}
	}
	return b.String()
}

// Clone returns an independent copy.
func (p *Params) Clone() Params { return Params{list: append([]param(nil), p.list...)} }
