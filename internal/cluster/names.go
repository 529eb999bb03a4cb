package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// Names are what the indices of a cluster are called by someone who knows them by
// other names than the cluster does.
type Names interface {
	// There is the name that an index has at the cluster.
	There(name string) string
	// Here is the name of an index of the cluster. It is not ok if there is none:
	// such an index is not seen.
	Here(there string) (name string, ok bool)
}

// Renamed is the same cluster to someone who knows its indices by other names. It takes
// and gives these, for documents, facts, scans, and in requests by Do and Send that
// name indices one by one. Aliases keep their names. A request whose names it cannot
// tell is refused, so that nothing reaches an index of the wrong name. What errors say
// has the cluster's own names.
func (c *Cluster) Renamed(names Names) *Cluster {
	r := New(c.name, &renaming{c, names}, Options{})
	r.real, r.names = c, names
	return r
}

// Real is the cluster with its own names.
func (c *Cluster) Real() *Cluster {
	if c.real == nil {
		return c
	}
	return c.real
}

// There is the name that an index has at the cluster, for what Do does not rename.
func (c *Cluster) There(name string) string {
	if c.names == nil {
		return name
	}
	return c.names.There(name)
}

// expand is Facts.Expand. The cluster can tell what an alias stands for; which indices
// a pattern means is about their names here.
func (c *Cluster) expand(ctx context.Context, expression string) ([]string, error) {
	all, err := c.real.Facts().Expand(ctx, "")
	if err != nil {
		return nil, err
	}
	all = c.seen(all)
	var found []string
	for _, part := range strings.Split(expression, ",") {
		excluded, without := strings.CutPrefix(part, "-")
		switch {
		case part == "" || part == "_all":
			found = append(found, all...)
		case without && len(found) > 0:
			found = slices.DeleteFunc(found, func(name string) bool { return MatchIndex(excluded, name) })
		case strings.Contains(part, "*"):
			for _, name := range all {
				if MatchIndex(part, name) {
					found = append(found, name)
				}
			}
		case slices.Contains(all, part):
			found = append(found, part)
		default:
			behind, err := c.real.Facts().Expand(ctx, part)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(behind, part) { // else it is an index, of another name here
				found = append(found, c.seen(behind)...)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// seen are the names here of indices of the cluster.
func (c *Cluster) seen(there []string) []string {
	var list []string
	for _, name := range there {
		if name, ok := c.names.Here(name); ok {
			list = append(list, name)
		}
	}
	return list
}

// MatchIndex reports whether a pattern as Elasticsearch knows them matches the name of
// an index: * stands for any text.
func MatchIndex(pattern, name string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, first)
	for ok {
		part, more, wild := strings.Cut(rest, "*")
		if !wild {
			return strings.HasSuffix(name, part)
		}
		_, name, ok = strings.Cut(name, part)
		rest = more
	}
	return false
}

// renaming is what carries the requests of a cluster that has other names.
type renaming struct {
	c     *Cluster
	names Names
}

// Send implements esapi.Sender.
func (s *renaming) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	if r.Path == "/" {
		return s.c.Send(ctx, r)
	}
	v, err := s.c.Version(ctx)
	if err != nil {
		return nil, err
	}
	e := esapi.ParseEndpoint(r.Method, r.Path, v)
	renamed := *r
	if renamed.Path, err = s.path(e, v); err != nil {
		return nil, err
	}
	if e.API == "indices.update_aliases" {
		if renamed.Body, err = s.actions(r.Body); err != nil {
			return nil, err
		}
	}
	res, err := s.c.Send(ctx, &renamed)
	if err != nil || res.Status >= 300 {
		return res, err
	}
	switch {
	case keyed[e.API]:
		return s.shown(res, "")
	case e.API == "cluster.state":
		return s.shown(res, "metadata.indices")
	}
	return res, nil
}

// keyed are the APIs whose answers have a member for each index.
var keyed = map[string]bool{"indices.get": true, "indices.get_settings": true, "indices.get_alias": true, "indices.get_mapping": true}

// path is a request's path at the cluster.
func (s *renaming) path(e esapi.Endpoint, v esapi.Version) (string, error) {
	if e.API == "" || e.Target+e.Alias != "" {
		return "", s.refused(e)
	}
	if e.Index == "" {
		return e.Path, nil
	}
	if e.Index == "_all" && keyed[e.API] {
		return e.Path, nil
	}
	names := strings.Split(e.Index, ",")
	for i, name := range names {
		if name == "_all" || strings.ContainsAny(name, "*<>") || strings.HasPrefix(name, "-") {
			return "", s.refused(e)
		}
		names[i] = s.names.There(name)
	}
	e.Index = strings.Join(names, ",")
	path, ok := e.PathFor(v)
	if !ok {
		return "", s.refused(e)
	}
	return path, nil
}

// refused is a bug of the caller, and better than a request to another index.
func (s *renaming) refused(e esapi.Endpoint) error {
	return fmt.Errorf("%s: %s %s: its indices have other names there, and it is not known how to name them in this request", s.c.name, e.Method, e.Path)
}

// actions renames the indices in the body of POST /_aliases.
func (s *renaming) actions(body []byte) ([]byte, error) {
	var err error
	for i, wrapped := range gjson.GetBytes(body, "actions").Array() {
		wrapped.ForEach(func(action, a gjson.Result) bool {
			at := fmt.Sprintf("actions.%d.%s.index", i, gjson.Escape(action.String()))
			index := a.Get("index")
			if index.Type != gjson.String || strings.ContainsAny(index.Str, "*,") || a.Get("indices").Exists() {
				err = fmt.Errorf("%s: POST /_aliases: its indices have other names there; each action has to name one", s.c.name)
				return false
			}
			body, err = sjson.SetBytes(body, at, s.names.There(index.Str))
			return err == nil
		})
		if err != nil {
			return nil, err
		}
	}
	return body, nil
}

// shown is an answer that has an object with a member for each index, at a path ("" for
// the whole): these get their names here, and those that have none are left out.
func (s *renaming) shown(res *esapi.Response, path string) (*esapi.Response, error) {
	body, err := ReadBody(res, maxAnswer)
	if err != nil {
		return nil, err
	}
	all := gjson.ParseBytes(body)
	if path != "" {
		all = all.Get(path)
	}
	if all.IsObject() {
		out := []byte{'{'}
		all.ForEach(func(there, o gjson.Result) bool {
			if name, ok := s.names.Here(there.String()); ok {
				if len(out) > 1 {
					out = append(out, ',')
				}
				out = append(appendString(out, name), ':')
				out = append(out, o.Raw...)
			}
			return true
		})
		out = append(out, '}')
		if path == "" {
			body = out
		} else if body, err = sjson.SetRawBytes(body, path, out); err != nil {
			return nil, err
		}
	}
	shown := *res
	shown.Header = res.Header.Clone()
	shown.Header.Del("Content-Length")
	shown.Body = esapi.NewResponse(res.Status, body).Body
	return &shown, nil
}
