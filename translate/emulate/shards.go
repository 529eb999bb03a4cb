package emulate

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// maxAutoSlices is how many slices slices=auto makes at most.
const maxAutoSlices = 20

// autoSlices is the number of shards of the index that has fewest.
func (e *Emulator) autoSlices(ctx context.Context, j *job) (int, error) {
	shards, err := e.shards(ctx, j, j.search.indices, j.search.params)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, count := range shards {
		if n == 0 || count < n {
			n = count
		}
	}
	return max(1, min(n, maxAutoSlices)), nil
}

// shards are the indices that an expression means, with the number of their
// shards.
func (e *Emulator) shards(ctx context.Context, j *job, indices string, from esapi.Params) (map[string]int, error) {
	var params esapi.Params
	params.Set("ignore_unavailable", "false") // a missing index is an error, as it is of the search
	for _, name := range []string{"ignore_unavailable", "allow_no_indices", "expand_wildcards", "routing", "preference"} {
		if from.Has(name) {
			params.Set(name, from.Get(name))
		}
	}
	body, _, err := e.ask(ctx, j.request(http.MethodGet, "/"+url.PathEscape(indices)+"/_search_shards", params, nil), "", e.MaxPage)
	if err != nil {
		return nil, err
	}
	count := map[string]int{}
	gjson.GetBytes(body, "shards").ForEach(func(_, copies gjson.Result) bool {
		if index := copies.Get("0.index").String(); index != "" {
			count[index]++
		}
		return true
	})
	return count, nil
}

// checkTarget refuses a reindex that would read what it writes.
func (e *Emulator) checkTarget(ctx context.Context, j *job) error {
	own := func(name string) error {
		return esapi.ValidationFailed("reindex cannot write into an index its reading from [" + name + "]")
	}
	for name := range strings.SplitSeq(j.search.indices, ",") {
		if name == j.dest.index {
			return own(name)
		}
	}
	sources, err := e.shards(ctx, j, j.search.indices, esapi.Params{})
	if err != nil {
		return err
	}
	targets, err := e.shards(ctx, j, j.dest.index, esapi.Params{})
	if _, missing := err.(*answerError); missing {
		return nil // it is created, or the bulk says what is wrong
	}
	if err != nil {
		return err
	}
	for name := range targets {
		if _, also := sources[name]; also && len(targets) == 1 {
			return own(name)
		}
	}
	return nil
}
