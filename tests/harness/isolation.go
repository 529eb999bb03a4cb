package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Do sends a request with the cluster's credentials and returns status and
// body of the answer. No answer fails the test; an error status does not. It
// may be used in cleanups too.
func (c *Cluster) Do(t testing.TB, method, path, body string) (status int, answer []byte) {
	t.Helper()
	status, answer, err := c.Request(context.WithoutCancel(t.Context()), method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return status, answer
}

// Prefix returns a start for the names of indices, templates, pipelines and
// scripts that no other test uses. What begins with it is deleted after the
// test.
func (c *Cluster) Prefix(t testing.TB) string {
	t.Helper()
	prefix := uniquePrefix(t)
	c.CleanPrefix(t, prefix)
	return prefix
}

// CleanPrefix deletes what begins with prefix after the test: for a cluster to which
// another one's names are carried over.
func (c *Cluster) CleanPrefix(t testing.TB, prefix string) {
	t.Cleanup(func() { c.clean(t, prefix) })
}

// Clean empties the cluster: indices, templates, pipelines, stored scripts,
// repositories and changed settings, those of other tests too. Use it on
// clusters that nobody else uses at the same time.
func (c *Cluster) Clean(t testing.TB) {
	t.Helper()
	c.clean(t, "")
}

// clean deletes everything whose name begins with prefix; with an empty one it
// also resets the settings. It works after the test's own context has ended.
func (c *Cluster) clean(t testing.TB, prefix string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := c.deleteAll(ctx, prefix); err != nil {
		t.Errorf("cleaning elasticsearch %s: %v", c.Version, err)
	}
}

func (c *Cluster) deleteAll(ctx context.Context, prefix string) error {
	state, err := c.request(ctx, "GET", "/_cluster/state/metadata", "")
	if err != nil {
		return err
	}
	metadata := gjson.GetBytes(state, "metadata")
	// Where the names stand, and what deletes one. Indices go first: nothing
	// that they use can be deleted before.
	kinds := []struct{ names, path string }{
		{"indices.@keys", "/"},
		{"templates.@keys", "/_template/"},
		{"index_template.index_template.@keys", "/_index_template/"},
		{"component_template.component_template.@keys", "/_component_template/"},
		{"stored_scripts.@keys", "/_scripts/"},
		{"ingest.pipeline.#.id", "/_ingest/pipeline/"},
		{"repositories.@keys", "/_snapshot/"},
	}
	for _, kind := range kinds {
		for _, name := range metadata.Get(kind.names).Array() {
			// Names with a dot are Elasticsearch's own, "lang#id" is 5.x's second
			// name of a script.
			if n := name.String(); !strings.HasPrefix(n, prefix) || strings.HasPrefix(n, ".") || strings.Contains(n, "#") {
				continue
			}
			if _, err := c.request(ctx, "DELETE", kind.path+url.PathEscape(name.String()), ""); err != nil {
				return err
			}
		}
	}
	if prefix != "" {
		return nil
	}
	const reset = `{"persistent":{"*":null},"transient":{"*":null}}`
	_, err = c.request(ctx, "PUT", "/_cluster/settings", reset)
	return err
}

// request makes an error of any status but 200 and 404. A cluster that is too busy is asked
// again.
func (c *Cluster) request(ctx context.Context, method, path, body string) ([]byte, error) {
	status, answer, err := c.Request(ctx, method, path, body)
	for err == nil && (status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests) && sleep(ctx, time.Second) == nil {
		status, answer, err = c.Request(ctx, method, path, body)
	}
	if err == nil && status != http.StatusOK && status != http.StatusNotFound {
		err = fmt.Errorf("%s %s: %d %s", method, path, status, answer)
	}
	return answer, err
}

// uniquePrefix is made of the test's name, so that logs tell where it is from.
func uniquePrefix(t testing.TB) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(t.Name()))
	return fmt.Sprintf("%.40s-%08x-", name, rand.Uint32())
}

// Prefix returns a start for the names of topics and groups that no other test
// uses. Topics and groups that begin with it are deleted after the test.
func (k *KafkaCluster) Prefix(t testing.TB) string {
	t.Helper()
	prefix := uniquePrefix(t)
	t.Cleanup(func() {
		if err := k.clean(prefix); err != nil {
			t.Errorf("cleaning kafka: %v", err)
		}
	})
	return prefix
}

func (k *KafkaCluster) clean(prefix string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(k.addrs...))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	groups, err := admin.ListGroups(ctx)
	if err != nil {
		return err
	}
	ours := func(name string) bool { return !strings.HasPrefix(name, prefix) }
	if names := slices.DeleteFunc(groups.Groups(), ours); len(names) > 0 {
		if _, err := admin.DeleteGroups(ctx, names...); err != nil {
			return err
		}
	}
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	if names := slices.DeleteFunc(topics.Names(), ours); len(names) > 0 {
		if _, err := admin.DeleteTopics(ctx, names...); err != nil {
			return err
		}
	}
	return nil
}
