package replicate

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// rolls finds out what a rollover may change: the aliases of the indices that the
// alias stands for, and the new index, whose name the answer tells. Nothing with
// dry_run.
func (c *capture) rolls(ctx context.Context, req *esapi.Request, e esapi.Endpoint) ([]touched, error) {
	if v := req.Params.Get("dry_run"); req.Params.Has("dry_run") && v != "false" {
		return nil, nil
	}
	names, err := c.expand(ctx, e.Alias)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, ".ds-") }) {
		return nil, unsupported("a rollover of the data stream %s is not replicated; %s", e.Alias, dataStreams)
	}
	return append(one(whatRollover, e.Alias, false), aliasesOf(names)...), nil
}

// rolled is what a rollover has changed, as its answer tells.
func rolled(answer []byte) ([]touched, error) {
	if !esapi.ValidJSON(answer) {
		return nil, errors.New("the answer is not JSON")
	}
	a := gjson.ParseBytes(answer)
	from, to := a.Get("old_index").String(), a.Get("new_index").String()
	switch {
	case !a.Get("rolled_over").Bool():
		return nil, nil
	case from == "" || to == "":
		return nil, errors.New("the answer does not tell the indices")
	}
	return append(one(whatIndex, to, false), aliasesOf([]string{from, to})...), nil
}

// applyRollover brings over what an alias stands for, after a rollover of which
// nobody knows what it did.
func (p *pair) applyRollover(ctx context.Context, alias string) (problem, err error) {
	names, err := p.from.Facts().Expand(ctx, alias)
	if err != nil {
		return nil, err
	}
	names = p.a.r.selection.of(names)
	for _, name := range names {
		if problem, err = p.applyIndex(ctx, name, nil); problem != nil || err != nil {
			return problem, err
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	return p.applyAliases(ctx, names)
}
