package conformance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// A wiper removes from a cluster what tests left behind: it asks what exists
// and deletes only that.
type wiper struct {
	base   string
	client *http.Client
}

const everything = "/_cluster/state/metadata?filter_path=" +
	"metadata.indices.*.state,metadata.templates.*.index_patterns,metadata.templates.*.template," +
	"metadata.index_template.index_template.*.index_patterns,metadata.component_template.component_template.*.template," +
	"metadata.ingest.pipeline.id,metadata.stored_scripts,metadata.repositories.*.type," +
	"metadata.cluster_coordination.voting_config_exclusions.node_id"

func (w *wiper) wipe(ctx context.Context) error {
	if err := w.settings(ctx); err != nil {
		return err
	}
	state, err := w.ask(ctx, "GET", everything, "")
	if err != nil {
		return err
	}
	of := func(path ...string) *object {
		v := at(state, "metadata", keep)
		for _, p := range path {
			v = at(v, p, keep)
		}
		if o, ok := v.(*object); ok {
			return o
		}
		return newObject()
	}
	for _, name := range of("repositories").keys {
		if err := w.repository(ctx, name); err != nil {
			return err
		}
	}
	for _, name := range of("indices").keys {
		if err := w.index(ctx, name); err != nil {
			return err
		}
	}
	// Composable templates go before the parts that they are made of.
	for _, kind := range []struct {
		path  string
		names []string
	}{
		{"/_template/", of("templates").keys},
		{"/_index_template/", of("index_template", "index_template").keys},
		{"/_component_template/", of("component_template", "component_template").keys},
		{"/_scripts/", scripts(of("stored_scripts"))},
		{"/_ingest/pipeline/", pipelines(at(state, "metadata.ingest.pipeline", keep))},
	} {
		for _, name := range kind.names {
			if _, err := w.ask(ctx, "DELETE", kind.path+url.PathEscape(name), ""); err != nil {
				return err
			}
		}
	}
	if excluded, ok := at(state, "metadata.cluster_coordination.voting_config_exclusions", keep).([]any); ok && len(excluded) > 0 {
		if _, err := w.ask(ctx, "DELETE", "/_cluster/voting_config_exclusions?wait_for_removal=false", ""); err != nil {
			return err
		}
	}
	return nil
}

func keep(s string) string { return s }

// scripts: up to 5.x their names have the language in front.
func scripts(o *object) []string {
	var names []string
	for _, k := range o.keys {
		names = append(names, k[strings.LastIndex(k, "#")+1:])
	}
	return names
}

func pipelines(v any) []string {
	list, _ := v.([]any)
	var names []string
	for _, p := range list {
		names = append(names, javaText(at(p, "id", keep)))
	}
	return names
}

func (w *wiper) settings(ctx context.Context) error {
	v, err := w.ask(ctx, "GET", "/_cluster/settings?flat_settings=true", "")
	if err != nil {
		return err
	}
	reset := newObject()
	for _, kind := range []string{"persistent", "transient"} {
		o, ok := at(v, kind, keep).(*object)
		if !ok || len(o.keys) == 0 {
			continue
		}
		none := newObject()
		for _, k := range o.keys {
			none.set(k, nil)
		}
		reset.set(kind, none)
	}
	if len(reset.keys) == 0 {
		return nil
	}
	_, err = w.ask(ctx, "PUT", "/_cluster/settings", toJSON(reset))
	return err
}

// index deletes an index, also one that is blocked.
func (w *wiper) index(ctx context.Context, name string) error {
	_, err := w.ask(ctx, "DELETE", "/"+url.PathEscape(name), "")
	if err == nil {
		return nil
	}
	unblock := `{"index.blocks.read_only":null,"index.blocks.read_only_allow_delete":null,"index.blocks.metadata":null,"index.blocks.write":null}`
	if _, err := w.ask(ctx, "PUT", "/"+url.PathEscape(name)+"/_settings?expand_wildcards=all", unblock); err != nil {
		return err
	}
	_, err = w.ask(ctx, "DELETE", "/"+url.PathEscape(name), "")
	return err
}

func (w *wiper) repository(ctx context.Context, name string) error {
	path := "/_snapshot/" + url.PathEscape(name)
	if v, err := w.ask(ctx, "GET", path+"/_all", ""); err == nil { // a repository of files that are not there has none
		snapshots, _ := at(v, "snapshots", keep).([]any)
		for _, s := range snapshots {
			id := javaText(at(s, "snapshot", keep))
			if _, err := w.ask(ctx, "DELETE", path+"/"+url.PathEscape(id), ""); err != nil {
				return err
			}
		}
	}
	_, err := w.ask(ctx, "DELETE", path, "")
	return err
}

// ask sends a request; what does not exist any more is no error.
func (w *wiper) ask(ctx context.Context, method, target, body string) (any, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.base+target, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 400 && res.StatusCode != http.StatusNotFound {
		return nil, fmt.Errorf("wiping: %s %s: %d %s", method, target, res.StatusCode, text)
	}
	return parseJSON(text)
}
