package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/tests/check"
	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// A crowd is clients that write single documents at the same time. Each has documents of
// its own, and knows what the answer to each write has to be.
type crowd struct {
	url     string
	indices []string
	client  *http.Client
	hasty   bool // some do not wait for answers
}

func newCrowd(url string, indices ...string) *crowd {
	return &crowd{url: url, indices: indices, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200}}}
}

// A document is what its client knows of it.
type document struct {
	exists  bool
	version int64
	open    int64 // writes behind that, without an answer
	before  []string
}

// write has n clients write, each so many times, and fails the test for each wrong answer.
func (c *crowd) write(t *testing.T, n, times int, seed uint64) {
	t.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			docs := map[string]*document{}
			for range times {
				if err := c.step(t.Context(), random, docs, fmt.Sprintf("s%d-c%d-", seed, i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// step writes one document.
func (c *crowd) step(ctx context.Context, random *rand.Rand, docs map[string]*document, prefix string) error {
	index := c.indices[random.IntN(len(c.indices))]
	id := prefix + strconv.Itoa(random.IntN(4))
	d := docs[index+id]
	if d == nil {
		d = &document{}
		docs[index+id] = d
	}
	patient := ctx
	if c.hasty && random.IntN(4) == 0 {
		var cancel context.CancelFunc
		patient, cancel = context.WithTimeout(ctx, time.Duration(random.IntN(8000))*time.Microsecond)
		defer cancel()
	}
	path, body, n := "/"+index+"/book/", `{"title":"a volume","n":%d,"price":2.50}`, random.IntN(1000)
	method, want, wrote := "PUT", 200, true
	if !d.exists {
		want = 201
	}
	switch op := random.IntN(12); op {
	case 0, 1, 2, 3:
		path += id
	case 4: // without an id
		method, want, d = "POST", 201, &document{}
	case 5:
		path += id + "?op_type=create"
		if d.exists {
			want, wrote = 409, false
		}
	case 6:
		method, path, body = "POST", path+id+"/_update", `{"doc":{"n":%d.5},"doc_as_upsert":true}`
		n = int(d.version+d.open)*2000 + n // not what it was
	case 7:
		method, path, body = "POST", path+id+"/_update", `{"doc":{"n":%d.25}}`
		n = int(d.version+d.open)*2000 + n
		if !d.exists {
			want, wrote = 404, false
		}
	case 8, 9:
		method, path, body = "DELETE", path+id, ""
		if want = 200; !d.exists {
			want = 404
		}
	case 10:
		path, body, want, wrote = path+id, `{"n":"no number %d"}`, 400, false
	case 11:
		path += id + "?refresh=false" // is not gathered
	}
	if body != "" {
		body = fmt.Sprintf(body, n)
	}
	status, answer, err := c.send(patient, method, c.url+path, body)
	d.before = append(d.before, fmt.Sprintf("%s %s %d", method, path, status))
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		if wrote || d.open > 0 {
			d.open++
		}
		return nil
	}
	if err != nil {
		return err
	}
	var got struct {
		Index   string `json:"_index"`
		ID      string `json:"_id"`
		Version int64  `json:"_version"`
		Error   any    `json:"error"`
		Status  int    `json:"status"`
	}
	if err := json.Unmarshal(answer, &got); err != nil {
		return fmt.Errorf("%s %s: %d %s: %w", method, path, status, answer, err)
	}
	wrong := fmt.Errorf("%s %s %s: %d %s; want %d of %+v", method, path, body, status, answer, want, *d)
	if status >= 400 && got.Error != nil {
		if got.Status != status || d.open == 0 && (status != want || wrote) || status >= 500 || status == 429 {
			return wrong
		}
		return nil
	}
	if got.Index != index || got.ID != id && want == 201 && method != "POST" || method != "POST" && got.ID != id || got.Version <= d.version || got.Version > d.version+d.open+1 || d.open == 0 && (status != want || !wrote) {
		return wrong
	}
	// What nobody waits for any more may land behind what comes later, too.
	d.open -= got.Version - d.version - 1
	d.version, d.exists = got.Version, method != "DELETE"
	return nil
}

func (c *crowd) send(ctx context.Context, method, url, body string) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	a, err := c.client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer a.Body.Close()
	answer, err := io.ReadAll(a.Body)
	return a.StatusCode, answer, err
}

var gatheredTotal = regexp.MustCompile(`(?m)^esperanto_gathered_writes_total\{[^}]*\} (\S+)$`)

// gathered is how many writes have gone together with others.
func gathered(t *testing.T, g *gateway.Gateway) float64 {
	t.Helper()
	_, metrics, err := g.AdminRequest(testContext(t), "GET", "/metrics", "")
	if err != nil {
		t.Fatal(err)
	}
	m := gatheredTotal.FindSubmatch(metrics)
	if m == nil {
		return 0
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestGathering has a hundred clients write at a time: their writes go together, each gets
// its own answer, and both clusters get all of it, also if clients go away and the master
// is moved.
func TestGathering(t *testing.T) {
	harness.Real(t)
	ctx := testContext(t)
	es5, es8 := harness.Elasticsearch(t, "5.6.16"), harness.Elasticsearch(t, "8.7.1")
	prefix := es5.Prefix(t)
	es8.CleanPrefix(t, prefix)
	g := start(t, gateway.Options{Block: block(es5, es8, source)})
	a, b := prefix+"a", prefix+"b"
	for _, index := range []string{a, b} {
		createIndex(t, g, index)
		// The clients know of deletions what a cluster forgets after a minute.
		if status, answer, err := g.Request(ctx, "PUT", "/"+index+"/_settings", `{"index.gc_deletes":"1h"}`); err != nil || status != 200 {
			t.Fatalf("%d %s %v", status, answer, err)
		}
	}
	equal := func(t *testing.T) {
		t.Helper()
		if err := g.WaitApplied(ctx); err != nil {
			t.Fatal(err)
		}
		for _, index := range []string{a, b} {
			check.Eventually(t, es5, es8, index)
		}
	}
	together := 0.0
	grows := func(t *testing.T) {
		t.Helper()
		now := gathered(t, g)
		if now <= together {
			t.Errorf("nothing has gone together")
		}
		t.Logf("%v went together", now-together)
		together = now
	}
	t.Run("all wait for their answers", func(t *testing.T) {
		newCrowd(g.URL(), a, b).write(t, 100, 20, 1)
		grows(t)
		equal(t)
	})
	t.Run("some go away", func(t *testing.T) {
		c := newCrowd(g.URL(), a, b)
		c.hasty = true
		c.write(t, 100, 20, 2)
		grows(t)
		equal(t)
	})
	t.Run("the master is moved", func(t *testing.T) {
		moved, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			c := newCrowd(g.URL(), a, b)
			for seed := uint64(3); ; seed++ {
				c.write(t, 100, 10, seed)
				select {
				case <-moved:
					return
				default:
				}
			}
		}()
		for _, to := range []string{target, source} {
			var body []byte
			for status := 0; status != 200; { // 409: not within the limits, the machine is busy
				var err error
				if status, body, err = g.AdminRequest(ctx, "POST", "/esperanto/switchover", fmt.Sprintf(`{"master":%q}`, to)); err != nil || status != 200 && status != 409 {
					t.Errorf("%d %s %v", status, body, err)
					break
				}
			}
		}
		close(moved)
		<-done
		grows(t)
		equal(t)
	})
}

// TestGatheringOff is the same with gather off.
func TestGatheringOff(t *testing.T) {
	harness.Real(t)
	es5, es8 := harness.Elasticsearch(t, "5.6.16"), harness.Elasticsearch(t, "8.7.1")
	prefix := es5.Prefix(t)
	es8.CleanPrefix(t, prefix)
	g := start(t, gateway.Options{Block: strings.ReplaceAll(block(es5, es8, source), "}\ncluster", "gather off\n}\ncluster")})
	createIndex(t, g, prefix+"a")
	newCrowd(g.URL(), prefix+"a").write(t, 50, 10, 1)
	if n := gathered(t, g); n != 0 {
		t.Errorf("%v went together", n)
	}
}

// TestGatheringUsers has users write at the same time who may write to one index each, and
// one who may write to none: with auth passthrough nobody's writes go in another one's
// name, and who is refused gets what the cluster says of a write alone.
func TestGatheringUsers(t *testing.T) {
	harness.Real(t)
	ctx := testContext(t)
	const password = "a-password"
	role := func(own string) string {
		return `{"indices":[{"names":["*"],"privileges":["read"]},{"names":["*-` + own + `"],"privileges":["all"]}]}`
	}
	es := harness.Shared(t, harness.Options{Version: "8.7.1", Name: "gather-users", Memory: true,
		Users: map[string]string{"elastic": password, "may-a": password, "may-b": password, "may-none": password},
		Roles: map[string]string{"may-a": role("a"), "may-b": role("b"), "may-none": role("none")},
	})
	prefix := es.Prefix(t)
	a, b := prefix+"-a", prefix+"-b"
	mays := map[string]string{"may-a": a, "may-b": b, "may-none": ""}
	must := func(method, path, body string) {
		t.Helper()
		if status, answer := es.Do(t, method, path, body); status >= 300 {
			t.Fatalf("%s %s: %d %s", method, path, status, answer)
		}
	}
	for _, index := range []string{a, b} {
		must("PUT", "/"+index, `{"settings":{"number_of_replicas":0}}`)
	}
	g := start(t, gateway.Options{Block: fmt.Sprintf("cluster %s {\nto %s\nauth elastic %s\nauth passthrough\n}\nsource %[1]s", target, es.URL(), password)})
	client := newCrowd("").client
	send := func(base, user, index, id string) (int, string) {
		r, err := http.NewRequestWithContext(ctx, "PUT", base+"/"+index+"/_doc/"+id, strings.NewReader(fmt.Sprintf(`{"by":%q}`, user)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.SetBasicAuth(user, password)
		res, err := client.Do(r)
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil {
			t.Error(err)
		}
		return res.StatusCode, string(answer)
	}
	refusals := map[string]string{}
	for user, own := range mays {
		for _, index := range []string{a, b} {
			if index != own {
				status, answer := send(es.URL(), user, index, "refused")
				if status != 403 {
					t.Fatalf("%s: %d %s", user, status, answer)
				}
				refusals[user+index] = answer
			}
		}
	}
	var all sync.WaitGroup
	for user, own := range mays {
		for n := range 25 {
			all.Go(func() {
				for i := range 20 {
					for _, index := range []string{a, b} {
						status, answer := send(g.URL(), user, index, fmt.Sprintf("%s-%d-%d", user, n, i))
						if want := refusals[user+index]; index == own && status != 201 || index != own && (status != 403 || answer != want) {
							t.Errorf("%s on %s: %d %s; want %s", user, index, status, answer, want)
							return
						}
					}
				}
			})
		}
	}
	all.Wait()
	if n := gathered(t, g); n == 0 {
		t.Error("nothing has gone together")
	}
	for user, own := range mays {
		for _, index := range []string{a, b} {
			must("POST", "/"+index+"/_refresh", "")
			want := 0
			if index == own {
				want = 25 * 20
			}
			_, answer := es.Do(t, "POST", "/"+index+"/_count", fmt.Sprintf(`{"query":{"term":{"by.keyword":%q}}}`, user))
			if !strings.HasPrefix(string(answer), fmt.Sprintf(`{"count":%d,`, want)) {
				t.Errorf("%s in %s: %s, want %d", user, index, answer, want)
			}
		}
	}
}
