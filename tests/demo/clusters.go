package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/esperanto-es/esperanto/tests/harness"
)

// catchUpLimit is how long the follower may take to have everything.
const catchUpLimit = time.Minute

func (d *demo) compare(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, catchUpLimit)
	defer cancel()
	if err := d.gateway.WaitApplied(limited); err != nil {
		return err
	}
	source, err := documents(ctx, d.source)
	if err != nil {
		return err
	}
	target, err := documents(ctx, d.target)
	if err != nil {
		return err
	}
	for id, s := range source {
		if t, ok := target[id]; !ok || t != s {
			return fmt.Errorf("document %s is %v in %s and %v in %s", id, s, d.source.Version, t, d.target.Version)
		}
	}
	if len(source) != len(target) || len(source) == 0 {
		return fmt.Errorf("%d documents in %s, %d in %s", len(source), d.source.Version, len(target), d.target.Version)
	}
	say("%d documents, all equal: id, version and source", len(source))
	return nil
}

// A document is what both clusters must agree on.
type document struct {
	version int64
	source  string
}

// documents reads the whole index.
func documents(ctx context.Context, c *harness.Cluster) (map[string]document, error) {
	if _, _, err := c.Request(ctx, "POST", "/"+index+"/_refresh", ""); err != nil {
		return nil, err
	}
	status, body, err := c.Request(ctx, "POST", "/"+index+"/_search?scroll=1m", `{"size":5000,"version":true}`)
	all := map[string]document{}
	for {
		if err != nil {
			return nil, err
		}
		if status != 200 {
			return nil, fmt.Errorf("%s answers %d: %s", c.Version, status, body)
		}
		var page struct {
			ScrollID string `json:"_scroll_id"`
			Hits     struct {
				Hits []struct {
					ID      string          `json:"_id"`
					Version int64           `json:"_version"`
					Source  json.RawMessage `json:"_source"`
				} `json:"hits"`
			} `json:"hits"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return nil, err
		}
		if len(page.Hits.Hits) == 0 {
			return all, nil
		}
		for _, h := range page.Hits.Hits {
			all[h.ID] = document{h.Version, string(h.Source)}
		}
		status, body, err = c.Request(ctx, "POST", "/_search/scroll", fmt.Sprintf(`{"scroll":"1m","scroll_id":%q}`, page.ScrollID))
	}
}

// writeFor lets the application write for a while.
const writeFor = 2 * time.Second

func (d *demo) stopFollower(ctx context.Context) error {
	if err := d.target.Stop(); err != nil {
		return err
	}
	w := d.app.startWriter()
	time.Sleep(writeFor)
	if err := w.end(); err != nil {
		return err
	}
	s, err := d.gateway.Status(ctx)
	if err != nil {
		return err
	}
	say("%d writes, none failed; %d records wait in the journal", w.written.Load(), s.Backlog)
	return nil
}

func (d *demo) startFollower(ctx context.Context) error {
	if err := d.target.Start(ctx); err != nil {
		return err
	}
	start := time.Now()
	if err := d.compare(ctx); err != nil {
		return err
	}
	say("after %s", time.Since(start).Round(time.Millisecond))
	return nil
}

func (d *demo) switchMaster(ctx context.Context, to string) error {
	w := d.app.startWriter()
	time.Sleep(writeFor / 2)
	printed, err := d.gateway.Command(ctx, "switch", to)
	time.Sleep(writeFor / 2)
	if writeErr := w.end(); err == nil {
		err = writeErr
	}
	if err != nil {
		return err
	}
	say("%s", printed)
	s, err := d.gateway.Status(ctx)
	if err != nil {
		return err
	}
	if s.Master != to {
		return fmt.Errorf("the master is %s", s.Master)
	}
	say("%d writes meanwhile, none failed; the longest took %s", w.written.Load(), time.Duration(w.longest.Load()).Round(time.Millisecond))
	return nil
}
