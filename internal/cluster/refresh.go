package cluster

import (
	"context"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"
)

// RefreshAll makes what was written to all indices visible to searches. Indices that
// lack a primary shard are left out: Elasticsearch waits for that for a minute.
func (c *Cluster) RefreshAll(ctx context.Context) error {
	status, answer, err := c.Do(ctx, http.MethodGet, "/_cluster/health?level=indices&timeout=2s&filter_path=status,indices.*.status", nil)
	if err == nil {
		err = c.Failed(status, answer)
	}
	if err != nil {
		return err
	}
	if gjson.GetBytes(answer, "status").Str != "red" {
		return c.refresh(ctx, "/_refresh")
	}
	var names []string
	length := 0
	flush := func() error {
		if len(names) == 0 {
			return nil
		}
		path := Path(strings.Join(names, ","), "_refresh")
		names, length = names[:0], 0
		return c.refresh(ctx, path+"?ignore_unavailable=true")
	}
	gjson.GetBytes(answer, "indices").ForEach(func(name, health gjson.Result) bool {
		if health.Get("status").Str == "red" {
			return true
		}
		names, length = append(names, name.Str), length+len(name.Str)
		if length > 2000 { // the request line of Elasticsearch has at most 4 KB
			err = flush()
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	return flush()
}

func (c *Cluster) refresh(ctx context.Context, target string) error {
	status, answer, err := c.Do(ctx, http.MethodPost, target, nil)
	if err != nil {
		return err
	}
	return c.Failed(status, answer)
}
