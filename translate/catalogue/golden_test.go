package catalogue_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
	_ "github.com/esperanto-es/esperanto/translate/catalogue"
)

var rewrite = flag.Bool("rewrite", false, "write the goldens' sent requests and answers anew")

// TestGoldens runs every testdata/ID.way*.txtar through the whole plan of its
// pair. The comment names the pair, "client 5.6.16 -> cluster 8.7.1", and maybe
// the setting "types merge" or "types split". Parts:
//
//	facts               lines "index type field:type[:format] …" or "alias -> index";
//	                    several types as "blog,comment<blog", of which the last is a child,
//	                    or "blog,+comment", of which the last has an index of its own
//	request             what the client sends
//	request.sent        what the cluster gets; repeated if it gets several
//	response.received   what the cluster answers to each
//	response            what the client gets
//
// A request is a line METHOD TARGET, lines "> Header: value", and the body. A
// response is a line with the status, then the same. A missing request.sent means
// the request unchanged, a missing response the last answer unchanged.
func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			fired := runGolden(t, file)
			id, _, _ := strings.Cut(filepath.Base(file), ".")
			if !slices.ContainsFunc(fired, func(f string) bool { return strings.HasPrefix(f, id+" ") }) {
				t.Errorf("no change of row %s had anything to do here; these had: %q", id, fired)
			}
			for _, f := range fired {
				seen[f] = true
			}
		})
	}
	if strings.Contains(flag.Lookup("test.run").Value.String(), "/") {
		return // some of the goldens only
	}
	for _, c := range translate.Changes() {
		for _, d := range []struct {
			way string
			translate.Direction
		}{{"old", c.OldClient}, {"new", c.NewClient}} {
			if len(d.Request)+len(d.Response) > 0 && !seen[c.ID+" "+c.Name+" "+d.way] {
				t.Errorf("change %s %s has no golden for its %s client, in which it has something to do", c.ID, c.Name, d.way)
			}
		}
	}
}

// part is a request or a response of a golden.
type part struct {
	head   string
	header http.Header
	body   string
}

func parsePart(data []byte) part {
	text := strings.TrimSuffix(string(data), "\n")
	head, rest, _ := strings.Cut(text, "\n")
	p := part{head: head, header: http.Header{}}
	if fields := strings.SplitN(head, " ", 3); len(fields) == 3 && fields[0] != "" && fields[0][0] >= 'A' {
		p.head, p.body = fields[0]+" "+fields[1], fields[2]
	} else if status, body, ok := strings.Cut(head, " "); ok && status[0] <= '9' {
		p.head, p.body = status, body
	}
	for strings.HasPrefix(rest, "> ") {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		k, v, _ := strings.Cut(line[2:], ": ")
		p.header.Add(k, v)
	}
	if rest != "" {
		p.body = rest
		if strings.Contains(rest, "\n") {
			p.body += "\n"
		}
	}
	return p
}

// print writes a part the way parsePart reads it.
func (p part) print() []byte {
	var b bytes.Buffer
	b.WriteString(p.head)
	var headers []string
	for _, k := range slices.Sorted(maps.Keys(p.header)) {
		for _, v := range p.header[k] {
			headers = append(headers, fmt.Sprintf("> %s: %s\n", k, v))
		}
	}
	body := strings.TrimSuffix(p.body, "\n")
	if len(headers) == 0 && !strings.Contains(body, "\n") {
		if body != "" {
			b.WriteString(" " + body)
		}
		b.WriteString("\n")
		return b.Bytes()
	}
	b.WriteString("\n" + strings.Join(headers, ""))
	if body != "" {
		b.WriteString(body + "\n")
	}
	return b.Bytes()
}

// shown are the headers that goldens show.
var shown = []string{"Content-Type", "Accept", "Location", translate.LossyHeader, "Warning"}

// warningDate is the time at the end of a warning.
var warningDate = regexp.MustCompile(` "[A-Z][a-z]{2}, [^"]* GMT"$`)

func shownHeaders(h http.Header) http.Header {
	s := http.Header{}
	for _, k := range shown {
		for _, v := range h.Values(k) {
			s.Add(k, warningDate.ReplaceAllString(v, ""))
		}
	}
	return s
}

func runGolden(t *testing.T, file string) (fired []string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	archive := txtar.Parse(data)
	client, cluster := parsePair(t, string(archive.Comment))
	var request part
	var wantSent, received []part
	var wantAnswer *part
	facts := newFakeFacts()
	for _, f := range archive.Files {
		switch p := parsePart(f.Data); f.Name {
		case "facts":
			facts.parse(string(f.Data))
		case "request":
			request = p
		case "request.sent":
			wantSent = append(wantSent, p)
		case "response.received":
			received = append(received, p)
		case "response":
			wantAnswer = &p
		default:
			t.Fatalf("unknown part %q", f.Name)
		}
	}
	stub := &stubCluster{t: t, answers: received}
	sender := translate.NewSender(client, cluster, facts, stub)
	sender.OnFired = func(f translate.Fired) {
		way := "old"
		if cluster.Before(client) {
			way = "new"
		}
		for _, c := range slices.Concat(f.Request, f.Answer) {
			if c.Since.IsZero() {
				fired = append(fired, c.ID+" "+c.Name+" old")
				continue
			}
			fired = append(fired, c.ID+" "+c.Name+" "+way)
		}
	}
	method, target, _ := strings.Cut(request.head, " ")
	r := esapi.NewRequest(method, target, []byte(request.body))
	for k, v := range request.header {
		r.Header[k] = v
	}
	if _, given := request.header["Content-Type"]; !given && request.body != "" {
		r.Header.Del("Content-Type")
		if ndjson := strings.Contains(target, "_bulk") || strings.Contains(target, "_msearch"); ndjson {
			r.Header.Set("Content-Type", "application/x-ndjson")
		} else {
			r.Header.Set("Content-Type", "application/json")
		}
	}
	ctx := translate.WithGatewayAddress(context.Background(), "gateway:9200")
	for _, setting := range []translate.TypesSetting{translate.MergeTypes, translate.SplitTypes} {
		if strings.Contains(string(archive.Comment), "types "+string(setting)) {
			ctx = translate.WithTypes(ctx, setting)
		}
	}
	got := roundTrip(t, sender, ctx, r)

	if *rewrite {
		rewriteGolden(t, file, archive, request, stub, got, received)
		return fired
	}
	if wantSent == nil && len(received) > 0 {
		wantSent = []part{request}
	}
	compareSent(t, wantSent, stub.sent)
	if wantAnswer == nil && len(received) > 0 {
		wantAnswer = &received[len(received)-1]
	}
	if wantAnswer != nil && !bytes.Equal(wantAnswer.print(), got.print()) {
		t.Errorf("the client gets\n%swanted\n%s", got.print(), wantAnswer.print())
	}
	return fired
}

func compareSent(t *testing.T, want, got []part) {
	for i := range max(len(want), len(got)) {
		var w, g []byte
		if i < len(want) {
			w = withoutDefaults(want[i]).print()
		}
		if i < len(got) {
			g = withoutDefaults(got[i]).print()
		}
		if !bytes.Equal(w, g) {
			t.Errorf("request %d to the cluster is\n%swanted\n%s", i+1, g, w)
		}
	}
}

// withoutDefaults leaves out the content type that a request has anyhow.
func withoutDefaults(p part) part {
	h := p.header.Clone()
	if ct := h.Get("Content-Type"); ct == "application/json" || ct == "application/x-ndjson" {
		h.Del("Content-Type")
	}
	p.header = h
	return p
}

func rewriteGolden(t *testing.T, file string, a *txtar.Archive, request part, stub *stubCluster, got part, received []part) {
	out := &txtar.Archive{Comment: a.Comment}
	for _, f := range a.Files {
		if f.Name == "facts" || f.Name == "request" {
			out.Files = append(out.Files, f)
		}
	}
	for i, s := range stub.sent {
		if s = withoutDefaults(s); len(stub.sent) > 1 || !bytes.Equal(s.print(), withoutDefaults(request).print()) {
			out.Files = append(out.Files, txtar.File{Name: "request.sent", Data: s.print()})
		}
		if i < len(received) {
			out.Files = append(out.Files, txtar.File{Name: "response.received", Data: received[i].print()})
		}
	}
	if len(received) == 0 || !bytes.Equal(got.print(), received[len(received)-1].print()) {
		out.Files = append(out.Files, txtar.File{Name: "response", Data: got.print()})
	}
	if err := os.WriteFile(file, txtar.Format(out), 0o644); err != nil {
		t.Fatal(err)
	}
}

func parsePair(t *testing.T, comment string) (client, cluster esapi.Version) {
	for line := range strings.Lines(comment) {
		var c, k string
		if n, _ := fmt.Sscanf(line, "client %s -> cluster %s", &c, &k); n != 2 {
			continue
		}
		client, err1 := esapi.ParseVersion(c)
		cluster, err2 := esapi.ParseVersion(k)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		return client, cluster
	}
	t.Fatalf("the comment %q has no line \"client 5.6.16 -> cluster 8.7.1\"", comment)
	return
}

// roundTrip sends r and reads the answer, or prints the gateway's own error.
func roundTrip(t *testing.T, s esapi.Sender, ctx context.Context, r *esapi.Request) part {
	a, err := s.Send(ctx, r)
	var own *esapi.Error
	if errors.As(err, &own) {
		return part{head: strconv.Itoa(own.Status), header: http.Header{}, body: fmt.Sprintf("gateway: %s: %s", own.Type, own.Reason)}
	}
	if err != nil {
		t.Fatalf("sending: %v", err)
	}
	defer a.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(a.Body); err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	return part{head: strconv.Itoa(a.Status), header: shownHeaders(a.Header), body: b.String()}
}

// stubCluster answers what the golden says and keeps what it is sent.
type stubCluster struct {
	t       *testing.T
	answers []part
	sent    []part
}

func (c *stubCluster) Send(_ context.Context, r *esapi.Request) (*esapi.Response, error) {
	target := r.Path
	if q := r.Params.Encode(); q != "" {
		target += "?" + q
	}
	c.sent = append(c.sent, part{head: r.Method + " " + target, header: shownHeaders(r.Header), body: string(r.Body)})
	if len(c.sent) > len(c.answers) {
		c.answers = append(c.answers, part{head: "200", body: "{}"})
	}
	p := c.answers[len(c.sent)-1]
	status, err := strconv.Atoi(p.head)
	if err != nil {
		c.t.Fatalf("response.received: %q is no status", p.head)
	}
	a := esapi.NewResponse(status, []byte(p.body))
	a.Header = http.Header{}
	for k, v := range p.header {
		a.Header[k] = slices.Clone(v)
	}
	a.Header.Set("Content-Length", strconv.Itoa(len(p.body)))
	return a, nil
}
