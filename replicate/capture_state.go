package replicate

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
)

// What a state record can be about.
const (
	whatIndex             = "index"
	whatAliases           = "aliases" // the name is a list of indices
	whatTemplate          = "template"
	whatIndexTemplate     = "index_template"
	whatComponentTemplate = "component_template"
	whatPipeline          = "pipeline"
	whatScript            = "script"

	// Only of intents.
	whatRollover = "rollover" // the name is the alias
	whatResync   = "resync"   // the name is an index that is to be resynced
)

// A touched is a part of the cluster's state that a request changes.
type touched struct {
	stateRef
	deleted bool

	// Of an index that may be deleted: what found it, and which one it is.
	expression, uuid string
}

// state captures a change of what indices are made of: which things it touches
// is found out before it is sent, what they are like afterwards is read when
// the change is applied.
func (c *capture) state(ctx context.Context, req *esapi.Request, e esapi.Endpoint) (*esapi.Response, error) {
	if err := c.hold(req); err != nil {
		return nil, err
	}
	things, err := c.touches(ctx, req, e)
	if own := new(esapi.Error); errors.As(err, &own) {
		return nil, own
	}
	if err != nil {
		return nil, unavailable("what the request changes cannot be found out: %v; nothing was changed", err)
	}
	if len(things) == 0 {
		return c.next.Send(ctx, req) // nothing is touched; the cluster words the answer
	}
	c.meet(ctx, things)
	refs := make([]asked, len(things))
	for i := range things {
		refs[i] = asked{stateRef: things[i].stateRef, UUID: things[i].uuid}
	}
	t, err := c.begin(ctx, nil, refs, stateKey)
	if err != nil {
		return nil, err
	}
	defer t.rescue()
	c.r.counters.writes.Add(1)
	res, answer, o, err := c.exchange(ctx, t, req)
	c.lease.roles.master.Facts().ForgetAll()
	if o != outcomeAnswered {
		c.settle(t, o)
		return c.reply(ctx, t, res, answer, err)
	}
	seen := things
	things, err = c.reached(context.WithoutCancel(ctx), things, answer)
	if err != nil {
		c.noteUnseen(context.WithoutCancel(ctx), t, seen)
		c.settle(t, outcomeUnparsed)
		return c.reply(ctx, t, res, answer, nil)
	}
	records := make([]*record, len(things))
	for i, thing := range things {
		records[i] = thing.record(c.r)
	}
	t.finish(ctx, records)
	return c.reply(ctx, t, res, answer, nil)
}

// record tells of a change.
func (t *touched) record(r *Replicator) *record {
	if t.What == whatResync {
		return &record{Kind: kindResync, ID: r.nextIntentID(), Name: t.Name}
	}
	return &record{Kind: kindState, What: t.What, Name: t.Name, Deleted: t.deleted}
}

// touches finds out what a request is going to change.
func (c *capture) touches(ctx context.Context, req *esapi.Request, e esapi.Endpoint) ([]touched, error) {
	switch e.API {
	case "indices.create":
		return one(whatIndex, e.Index, false), nil
	case "indices.delete":
		return c.deletedBy(ctx, e.Index)
	case "indices.open", "indices.close", "indices.put_mapping", "indices.put_settings", "indices.add_block":
		return c.eachIndex(ctx, e.Index)
	case "indices.rollover":
		return c.rolls(ctx, req, e)
	case "indices.shrink", "indices.split", "indices.clone":
		return append(one(whatIndex, e.Target, false), one(whatResync, e.Target, false)...), nil
	case "indices.put_alias", "indices.delete_alias":
		index := e.Index
		if b := gjson.GetBytes(req.Body, "index"); index == "" && b.Exists() {
			index = b.String()
		}
		names, err := c.expand(ctx, index)
		return aliasesOf(names), err
	case "indices.update_aliases":
		return c.aliasActions(ctx, req.Body)
	case "indices.put_template":
		return one(whatTemplate, e.Name, false), nil
	case "indices.delete_template":
		return c.eachNamed(ctx, whatTemplate, e.Name)
	case "indices.put_index_template":
		return one(whatIndexTemplate, e.Name, false), nil
	case "indices.delete_index_template":
		return c.eachNamed(ctx, whatIndexTemplate, e.Name)
	case "cluster.put_component_template":
		return one(whatComponentTemplate, e.Name, false), nil
	case "cluster.delete_component_template":
		return c.eachNamed(ctx, whatComponentTemplate, e.Name)
	case "ingest.put_pipeline":
		return one(whatPipeline, e.ID, false), nil
	case "ingest.delete_pipeline":
		return c.eachNamed(ctx, whatPipeline, e.ID)
	case "put_script", "put_template":
		return one(whatScript, e.ID, false), nil
	case "delete_script", "delete_template":
		return one(whatScript, e.ID, true), nil
	}
	return nil, nil
}

func one(what, name string, deleted bool) []touched {
	return []touched{{stateRef: stateRef{what, name}, deleted: deleted}}
}

// expand resolves an expression at the master to concrete indices.
func (c *capture) expand(ctx context.Context, expression string) ([]string, error) {
	return c.lease.roles.master.Facts().Expand(ctx, expression)
}

func (c *capture) eachIndex(ctx context.Context, expression string) ([]touched, error) {
	names, err := c.expand(ctx, expression)
	var things []touched
	for _, name := range names {
		things = append(things, one(whatIndex, name, false)...)
	}
	return things, err
}

// deletedBy finds the indices that a deletion may reach.
func (c *capture) deletedBy(ctx context.Context, expression string) ([]touched, error) {
	uuids, err := c.uuids(ctx, expression)
	var things []touched
	for _, name := range slices.Sorted(maps.Keys(uuids)) {
		things = append(things, touched{stateRef{whatIndex, name}, true, expression, uuids[name]})
	}
	return things, err
}

// reached leaves out the indices that a deletion has not reached after all: its
// pattern may match no aliases, or no closed indices. Of a rollover, answer tells.
func (c *capture) reached(ctx context.Context, things []touched, answer []byte) ([]touched, error) {
	if slices.ContainsFunc(things, func(t touched) bool { return t.What == whatRollover }) {
		return rolled(answer)
	}
	left := map[string]map[string]string{} // by expression
	var changed []touched
	for _, thing := range things {
		if thing.expression != "" && left[thing.expression] == nil {
			uuids, err := c.uuids(ctx, thing.expression)
			if err != nil {
				return nil, err
			}
			left[thing.expression] = uuids
		}
		if uuid, there := left[thing.expression][thing.Name]; there && uuid == thing.uuid {
			continue
		}
		changed = append(changed, thing)
	}
	return changed, nil
}

// uuids says which indices of the master an expression stands for.
func (c *capture) uuids(ctx context.Context, expression string) (map[string]string, error) {
	master := c.lease.roles.master
	status, answer, err := master.Do(ctx, http.MethodGet,
		cluster.Path(expression, "_settings", "index.uuid")+"?expand_wildcards=open,closed&ignore_unavailable=true&allow_no_indices=true", nil)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	if cluster.NoIndex(status, answer) {
		return found, nil
	}
	if err := master.Failed(status, answer); err != nil {
		return nil, err
	}
	gjson.ParseBytes(answer).ForEach(func(name, o gjson.Result) bool {
		found[name.String()] = o.Get("settings.index.uuid").String()
		return true
	})
	return found, nil
}

// aliasesPerRecord bounds the indices of one record about aliases.
const aliasesPerRecord = 200

// aliasesOf is about the aliases of indices. They are in one record, so that an
// alias moves from one index to another in one request at the follower too.
func aliasesOf(names []string) []touched {
	var things []touched
	for chunk := range slices.Chunk(names, aliasesPerRecord) {
		things = append(things, one(whatAliases, strings.Join(chunk, ","), false)...)
	}
	return things
}

// aliasActions reads the body of POST /_aliases.
func (c *capture) aliasActions(ctx context.Context, body []byte) ([]touched, error) {
	var expressions, removed []string
	gjson.GetBytes(body, "actions").ForEach(func(_, wrapped gjson.Result) bool {
		wrapped.ForEach(func(action, a gjson.Result) bool {
			for _, key := range []string{"index", "indices"} {
				v := a.Get(key)
				list := []gjson.Result{v}
				if v.IsArray() {
					list = v.Array()
				}
				for _, name := range list {
					switch {
					case !name.Exists():
					case action.Str == "remove_index":
						removed = append(removed, name.String())
					default:
						expressions = append(expressions, name.String())
					}
				}
			}
			return true
		})
		return true
	})
	var things []touched
	if len(removed) > 0 {
		gone, err := c.deletedBy(ctx, strings.Join(removed, ","))
		if err != nil {
			return nil, err
		}
		things = append(things, gone...)
	}
	if len(expressions) > 0 {
		names, err := c.expand(ctx, strings.Join(expressions, ","))
		if err != nil {
			return nil, err
		}
		things = append(things, aliasesOf(names)...)
	}
	return things, nil
}

// eachNamed resolves a pattern of names that is going to be deleted.
func (c *capture) eachNamed(ctx context.Context, what, name string) ([]touched, error) {
	if !strings.ContainsAny(name, "*,") {
		return one(what, name, true), nil
	}
	master := c.lease.roles.master
	status, answer, err := master.Do(ctx, http.MethodGet, statePath(what, name), nil)
	if err != nil {
		return nil, err
	}
	if status == http.StatusNotFound {
		return nil, nil
	}
	if err := master.Failed(status, answer); err != nil {
		return nil, err
	}
	var things []touched
	for _, n := range namesIn(what, answer) {
		things = append(things, one(what, n, true)...)
	}
	return things, nil
}

// statePath is where a named thing can be read, written and deleted.
func statePath(what, name string) string {
	switch what {
	case whatTemplate:
		return cluster.Path("_template", name)
	case whatIndexTemplate:
		return cluster.Path("_index_template", name)
	case whatComponentTemplate:
		return cluster.Path("_component_template", name)
	case whatPipeline:
		return cluster.Path("_ingest", "pipeline", name)
	}
	return cluster.Path("_scripts", name)
}

// namesIn lists the things in an answer to GET of a state path.
func namesIn(what string, answer []byte) []string {
	var names []string
	switch what {
	case whatIndexTemplate:
		for _, n := range gjson.GetBytes(answer, "index_templates.#.name").Array() {
			names = append(names, n.String())
		}
	case whatComponentTemplate:
		for _, n := range gjson.GetBytes(answer, "component_templates.#.name").Array() {
			names = append(names, n.String())
		}
	default:
		gjson.ParseBytes(answer).ForEach(func(name, _ gjson.Result) bool {
			names = append(names, name.String())
			return true
		})
	}
	return names
}
