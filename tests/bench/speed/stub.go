package speed

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// A stub answers as an Elasticsearch of a version would that does nothing, fast: what
// is measured with it is what stands in between.
type stub struct {
	version string
	source  string // of a document
	hits    []string
}

// newStub makes what it answers beforehand.
func newStub(version string) *stub {
	s := &stub{version: version, source: document()}
	var hits strings.Builder
	for i := range hitsPerSearch {
		if i > 0 {
			hits.WriteByte(',')
		}
		fmt.Fprintf(&hits, `{"_index":"books",%s"_id":"%s","_score":1.0,"_source":%s}`, s.typ(), fmt.Sprintf("hit-%d", i), searched(slot))
	}
	s.hits = strings.Split(hits.String(), slot)
	return s
}

func (s *stub) typ() string {
	if s.version < "8" {
		return `"_type":"_doc",`
	}
	return ""
}

// serve answers on all connections until the listener is closed.
func (s *stub) serve(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() { // ends with its connection
			defer c.Close()
			s.converse(c)
		}()
	}
}

// An asked is a request.
type asked struct {
	method, path string
	body         []byte
}

// converse answers one request after the other.
func (s *stub) converse(c net.Conn) {
	in := bufio.NewReaderSize(c, 64<<10)
	var r asked
	var out, body []byte
	for {
		if err := r.read(in); err != nil {
			return
		}
		var status string
		status, body = s.answer(body[:0], &r)
		out = append(append(out[:0], "HTTP/1.1 "...), status...)
		out = append(out, "\r\nX-elastic-product: Elasticsearch\r\ncontent-type: application/json; charset=UTF-8\r\ncontent-length: "...)
		out = append(strconv.AppendInt(out, int64(len(body)), 10), "\r\n\r\n"...)
		if r.method != "HEAD" {
			out = append(out, body...)
		}
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// mostBody is the largest body that is read.
const mostBody = 100 << 20

// read reads a request; it makes use of the memory of the last one.
func (r *asked) read(in *bufio.Reader) error {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	method, rest, _ := bytes.Cut(line, []byte(" "))
	path, _, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		return errors.New("not a request")
	}
	path, _, _ = bytes.Cut(path, []byte("?"))
	r.method, r.path, r.body = string(method), string(path), r.body[:0]
	length, chunked := 0, false
	for {
		if line, err = in.ReadSlice('\n'); err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case equal(name, "content-length"):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 || length > mostBody {
				return errors.New("a length that is none")
			}
		case equal(name, "transfer-encoding"):
			chunked = true
		}
	}
	if !chunked {
		return r.more(in, length)
	}
	return r.chunks(in)
}

func (r *asked) more(in io.Reader, n int) error {
	have := len(r.body)
	if have+n > mostBody {
		return errors.New("the body is too large")
	}
	if cap(r.body) < have+n {
		r.body = append(make([]byte, 0, 2*(have+n)), r.body...)
	}
	r.body = r.body[:have+n]
	_, err := io.ReadFull(in, r.body[have:])
	return err
}

func (r *asked) chunks(in *bufio.Reader) error {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseUint(string(bytes.TrimRight(line, "\r\n")), 16, 31)
		if err != nil {
			return err
		}
		if err := r.more(in, int(size)); err != nil {
			return err
		}
		if _, err := in.ReadSlice('\n'); err != nil || size == 0 {
			return err
		}
	}
}

const (
	ok      = "200 OK"
	created = "201 Created"
)

// answer appends the body of the answer and says its status.
func (s *stub) answer(b []byte, r *asked) (status string, body []byte) {
	index, rest, _ := strings.Cut(r.path[1:], "/")
	kind, id, _ := strings.Cut(rest, "/")
	write := r.method == "PUT" || r.method == "POST"
	switch {
	case r.path == "/":
		return ok, fmt.Appendf(b, `{"name":"stub","cluster_name":"stub","cluster_uuid":"stub-%[1]s-------------","version":{"number":%[1]q,"build_flavor":"default"},"tagline":"You Know, for Search"}`, s.version)
	case index == "_bulk" || kind == "_bulk":
		named := ""
		if kind == "_bulk" {
			named = index
		}
		return ok, s.bulk(b, r.body, named)
	case kind == "_search" && !strings.HasPrefix(index, "_"):
		return ok, s.search(b, r.body)
	case id != "" && write:
		return created, s.item(b, "", index, id, "created")
	case id != "" && r.method == "GET" && kind == "_doc":
		b = fmt.Appendf(b, `{"_index":%q,%s"_id":%q,"_version":1,"_seq_no":0,"_primary_term":1,"found":true,"_source":`, index, s.typ(), id)
		return ok, append(append(b, s.source...), '}')
	case rest == "" && !strings.HasPrefix(index, "_") && r.method == "GET":
		return ok, fmt.Appendf(b, `{%q:{"aliases":{},"mappings":{},"settings":{"index":{"number_of_shards":"1","uuid":"stub"}}}}`, index)
	case rest == "" && !strings.HasPrefix(index, "_") && (write || r.method == "DELETE"):
		return ok, fmt.Appendf(b, `{"acknowledged":true,"shards_acknowledged":true,"index":%q}`, index)
	}
	return "404 Not Found", fmt.Appendf(b, `{"error":{"root_cause":[],"type":"resource_not_found_exception","reason":"the stub does not know %s %s"},"status":404}`, r.method, r.path)
}

// item appends what became of a document, alone or as that of an action of a bulk.
func (s *stub) item(b []byte, action, index, id, result string) []byte {
	if action != "" {
		b = append(append(append(b, `{"`...), action...), `":`...)
	}
	b = append(append(append(b, `{"_index":"`...), index...), `",`...)
	b = append(append(append(append(b, s.typ()...), `"_id":"`...), id...), `","_version":1,"result":"`...)
	b = append(append(b, result...), `","_shards":{"total":1,"successful":1,"failed":0},"_seq_no":0,"_primary_term":1`...)
	if action != "" {
		b = append(b, `,"status":201}`...)
	}
	return append(b, '}')
}

// bulk appends an item for each action, those without an index in the one named in the path.
func (s *stub) bulk(b, body []byte, named string) []byte {
	b = append(b, `{"took":1,"errors":false,"items":[`...)
	for first := true; ; first = false {
		line, rest, found := bytes.Cut(body, []byte("\n"))
		if !found {
			return append(b, `]}`...)
		}
		var action, index, id, result = "index", "", "", "created"
		gjson.ParseBytes(line).ForEach(func(key, value gjson.Result) bool {
			action, index, id = key.Str, value.Get("_index").Str, value.Get("_id").Str
			return false
		})
		if index == "" {
			index = named
		}
		if action == "delete" {
			result = "deleted"
		} else {
			_, rest, _ = bytes.Cut(rest, []byte("\n"))
		}
		if !first {
			b = append(b, ',')
		}
		b, body = s.item(b, action, index, id, result), rest
	}
}

// search appends ten hits of the group that is asked for.
func (s *stub) search(b, body []byte) []byte {
	group := gjson.GetBytes(body, "query.term.group")
	number := group.Str
	if group.IsObject() {
		number = group.Get("value").Str
	}
	total := `{"value":10,"relation":"eq"}`
	b = append(append(append(b, `{"took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},"hits":{"total":`...), total...), `,"max_score":1.0,"hits":[`...)
	for i, part := range s.hits {
		if i > 0 {
			b = append(b, number...)
		}
		b = append(b, part...)
	}
	return append(b, `]}}`...)
}
