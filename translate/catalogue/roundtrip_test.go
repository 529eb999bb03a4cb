package catalogue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// TestRoundTrips takes what exact changes do back and there again. The request of
// a golden goes to the cluster's dialect, back to the client's, and once more to
// the cluster's: what arrives has to be what arrived without the way round, or the
// change has lost something. The cluster's answer goes the same way. Goldens with
// changes that lose something, or need more than one request, are left out; those
// that cannot be equal stand in testdata/roundtrips.txt with the reason.
func TestRoundTrips(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	expected := differentRoundTrips(t)
	ran := 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		difference, exact := roundTripped(t, file)
		if !exact {
			if expected[name] != "" {
				t.Errorf("%s is not exact, or needs several requests: its line in roundtrips.txt says nothing", name)
			}
			continue
		}
		ran++
		switch {
		case difference != "" && expected[name] == "":
			t.Errorf("%s: %s", name, difference)
		case difference == "" && expected[name] != "":
			t.Errorf("%s makes the way round unchanged: take it out of roundtrips.txt", name)
		}
	}
	if ran < 250 {
		t.Errorf("only %d goldens made the way round", ran)
	}
}

// differentRoundTrips reads roundtrips.txt: lines "golden: reason".
func differentRoundTrips(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("testdata/roundtrips.txt")
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, reason, ok := strings.Cut(line, ": ")
		if _, err := os.Stat("testdata/" + name + ".txtar"); err != nil || !ok {
			t.Errorf("roundtrips.txt: %q names no golden and a reason", line)
		}
		reasons[name] = reason
	}
	return reasons
}

// roundTripped tells how the request or the answer of a golden differs after the
// way round. It is not exact if a change that fired loses something, or if more
// than one request is needed.
func roundTripped(t *testing.T, file string) (difference string, exact bool) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	client, cluster := parsePair(t, string(archive.Comment))
	var request part
	stub := &stubCluster{t: t}
	facts := newFakeFacts()
	for _, f := range archive.Files {
		switch f.Name {
		case "facts":
			facts.parse(string(f.Data))
		case "request":
			request = parsePart(f.Data)
		case "response.received":
			stub.answers = append(stub.answers, parsePart(f.Data))
		}
	}
	exact = true
	leg := func(from, to esapi.Version, next esapi.Sender) esapi.Sender {
		s := translate.NewSender(from, to, facts, next)
		s.OnFired = func(f translate.Fired) {
			for _, c := range append(f.Request, f.Answer...) {
				if d := c.Between(from, to); d != nil && d.Fidelity != translate.Exact {
					exact = false
				}
			}
		}
		return s
	}
	last := &tap{next: stub}
	home := &tap{next: leg(client, cluster, last)}
	first := &tap{next: leg(cluster, client, home)}
	asked := &tap{next: leg(client, cluster, first)}

	method, target, _ := strings.Cut(request.head, " ")
	r := esapi.NewRequest(method, target, []byte(request.body))
	if request.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for k, v := range request.header {
		r.Header[k] = v
	}
	_, err = asked.Send(context.Background(), r)
	var own *esapi.Error
	switch {
	case errors.As(err, &own), !exact, len(stub.sent) != 1, len(first.sent) != 1:
		return "", false
	case err != nil:
		t.Fatalf("%s: %v", file, err)
	}
	if !sameBody(first.sent[0], last.sent[0]) {
		return "the request\n" + first.sent[0] + "\nis after the way round\n" + last.sent[0], true
	}
	if !sameBody(home.answered, asked.answered) {
		return "the answer\n" + home.answered + "\nis after the way round\n" + asked.answered, true
	}
	return "", true
}

// tap keeps what goes through: requests as a line and a body, the last answer's
// body.
type tap struct {
	next     esapi.Sender
	sent     []string
	answered string
}

func (p *tap) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	params := r.Params.Clone()
	if params.Get("track_total_hits") == "true" {
		params.Drop("track_total_hits") // the default of the versions that need it said
	}
	p.sent = append(p.sent, r.Method+" "+r.Path+"?"+params.Encode()+"\n"+string(r.Body))
	a, err := p.next.Send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(a.Body); err != nil {
		return nil, err
	}
	p.answered = b.String()
	again := esapi.NewResponse(a.Status, b.Bytes())
	again.Header = a.Header
	return again, nil
}

// sameBody compares text line by line, JSON by its value.
func sameBody(a, b string) bool {
	if a == b {
		return true
	}
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	if len(as) != len(bs) {
		return false
	}
	for i := range as {
		var av, bv any
		if as[i] != bs[i] && (unmarshal(as[i], &av) != nil || unmarshal(bs[i], &bv) != nil || !reflect.DeepEqual(av, bv)) {
			return false
		}
	}
	return true
}

// unmarshal reads JSON whose numbers keep their text, and leaves out what says
// the default of the versions that need it said.
func unmarshal(text string, v *any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	err := d.Decode(v)
	if m, ok := (*v).(map[string]any); ok && m["track_total_hits"] == true {
		delete(m, "track_total_hits")
	}
	return err
}
