package replicate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A scribe writes what indices are made of to the follower, as a client that
// speaks the master's dialect: the translation does the rest.
type scribe struct {
	dialect  esapi.Version // that requests are written in
	target   esapi.Version
	now      func() time.Time
	to       *cluster.Cluster
	sender   esapi.Sender
	typ      string // the type that a typeless mapping stands for
	typed    bool   // mappings are written with their type
	bothWays bool
	remind   bool // the type is written into _meta, since the follower has no types
}

// newScribe makes a scribe for one index, or with typ "" for what belongs to
// none. From a cluster without types to one with types it speaks as a 7.x
// client that names the type.
func newScribe(ctx context.Context, cfg Config, from, to *cluster.Cluster, typ string) (*scribe, error) {
	dialect, err := from.Version(ctx)
	if err != nil {
		return nil, err
	}
	target, err := to.Version(ctx)
	if err != nil {
		return nil, err
	}
	s := &scribe{bothWays: cfg.BothWays != "", dialect: dialect, target: target, now: cfg.Now, to: to, typ: typ, typed: dialect.Major < 7, remind: target.Major >= 7 && (dialect.Major < 7 || typ != "")}
	if dialect.Major >= 7 && target.Major < 7 && typ != "" {
		s.typed = true
		if dialect.Major > 7 {
			s.dialect = esapi.V(7, 17)
		}
	}
	s.sender = cfg.Translate(s.dialect, target, to.Facts(), to)
	return s, nil
}

// do sends a request. problem is an answer that says that it will not be done;
// the error passes.
func (s *scribe) do(ctx context.Context, method, target string, body []byte) (status int, answer []byte, problem, err error) {
	res, err := s.sender.Send(ctx, esapi.NewRequest(method, target, body))
	if own := new(esapi.Error); errors.As(err, &own) {
		if own.Status == http.StatusServiceUnavailable || own.Status >= 500 {
			return 0, nil, nil, err
		}
		return own.Status, nil, fmt.Errorf("%s %s: %w", method, target, err), nil
	}
	if err != nil {
		return 0, nil, nil, fmt.Errorf("%s: %s %s: %w", s.to.Name(), method, target, err)
	}
	answer, err = cluster.ReadBody(res, 64<<20)
	if err != nil {
		return 0, nil, nil, err
	}
	failed := s.to.Failed(res.Status, answer)
	if e := new(cluster.StatusError); errors.As(failed, &e) {
		if !permanent(e.Status, "") && !(s.bothWays && isShut(failed)) {
			return res.Status, answer, nil, failed
		}
		return res.Status, answer, failed, nil
	}
	return res.Status, answer, nil, nil
}

// createIndex creates an index as the master has it, whatever templates there are.
func (s *scribe) createIndex(ctx context.Context, index indexState, all *shadows) (problem, err error) {
	uncover, err := s.shadow(ctx, index.name, all)
	if err != nil {
		return nil, err
	}
	problem, err = s.create(ctx, index)
	return problem, errors.Join(err, uncover())
}

func (s *scribe) create(ctx context.Context, index indexState) (problem, err error) {
	settings := creatable(index.settings)
	for range maxUnknown {
		problem, err = s.createWith(ctx, index, settings)
		if aboutWriteIndex(problem) || aboutWriteIndex(err) {
			// The alias moves here with the next record about it, or cannot: that
			// must not keep the documents away.
			index.aliases = withoutWriteIndices(index.aliases)
			problem, err = s.createWith(ctx, index, settings)
		}
		unknown := unknownSetting(problem)
		if unknown == "" {
			break
		}
		// The follower's version does not know it, and nobody would miss it there.
		flatten("", "", gjson.Parse(settings), func(key, path string, _ gjson.Result) {
			if key == unknown {
				settings, _ = sjson.Delete(settings, path)
			}
		})
	}
	return problem, err
}

// maxUnknown bounds the settings that are left out because the follower does
// not know them.
const maxUnknown = 20

var unknownPattern = regexp.MustCompile(`unknown setting \[index\.([^\]]+)\]`)

// unknownSetting is the name of the setting that a problem is about, without
// "index.", if it is about that.
func unknownSetting(problem error) string {
	if problem == nil {
		return ""
	}
	if m := unknownPattern.FindStringSubmatch(problem.Error()); m != nil {
		return m[1]
	}
	return ""
}

// aboutWriteIndex reports whether something is refused because an alias would have
// two indices that it writes to, or because clusters before 6.4 know no such index.
func aboutWriteIndex(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "more than one write index") || strings.Contains(err.Error(), "is_write_index"))
}

func withoutWriteIndices(aliases gjson.Result) gjson.Result {
	out := aliases.Raw
	aliases.ForEach(func(name, a gjson.Result) bool {
		if a.Get("is_write_index").Bool() {
			out, _ = sjson.Delete(out, gjson.Escape(name.Str))
		}
		return true
	})
	return gjson.Parse(out)
}

func (s *scribe) createWith(ctx context.Context, index indexState, settings string) (problem, err error) {
	body := `{"settings":{"index":` + settings + `}`
	if mappings := s.mappings(index); mappings != "" {
		body += `,"mappings":` + mappings
	}
	if index.aliases.IsObject() {
		body += `,"aliases":` + index.aliases.Raw
	}
	body += `}`
	_, _, problem, err = s.do(ctx, http.MethodPut, cluster.Path(index.name)+s.typeParam(), []byte(body))
	return problem, err
}

func (s *scribe) typeParam() string {
	if s.typed && s.dialect.Major >= 7 {
		return "?include_type_name=true"
	}
	return ""
}

// mappings is the mapping as an index creation has it, "" if there is none.
func (s *scribe) mappings(index indexState) string {
	if s.dialect.Major < 7 {
		raw := index.mappings.Raw
		index.mappings.ForEach(func(typ, m gjson.Result) bool {
			if typ.Str != "_default_" {
				raw, _ = sjson.SetRaw(raw, gjson.Escape(typ.Str), s.reminded(index, m.Raw, typ.Str))
			}
			return true
		})
		return raw
	}
	m := index.mappings.Raw
	if m == "" {
		m = "{}"
	}
	m = s.reminded(index, m, s.typ)
	if s.typed {
		quoted := string(gjson.AppendJSONString(nil, s.typ))
		return `{` + quoted + `:` + m + `}`
	}
	return m
}

// reminded is a mapping with what the follower has to remember in its _meta: the type,
// and the master's index, if it has another name.
func (s *scribe) reminded(index indexState, mapping, typ string) string {
	set := func(what, value string) {
		if with, err := sjson.Set(mapping, "_meta.esperanto."+what, value); err == nil {
			mapping = with
		}
	}
	if s.remind && typ != "" && typ != "_doc" {
		set("type", typ)
	}
	if index.leader != "" {
		set("leader_index", index.leader)
	}
	return mapping
}

// putMapping adds the master's fields to the follower's mapping.
func (s *scribe) putMapping(ctx context.Context, index indexState) (problem, err error) {
	if s.dialect.Major >= 7 {
		target, m := cluster.Path(index.name, "_mapping"), index.mappings.Raw
		if s.typed {
			target = cluster.Path(index.name, "_mapping", s.typ) + s.typeParam()
		}
		if !index.mappings.IsObject() || m == "{}" {
			return nil, nil
		}
		_, _, problem, err = s.do(ctx, http.MethodPut, target, []byte(s.reminded(index, m, s.typ)))
		return problem, err
	}
	index.mappings.ForEach(func(typ, m gjson.Result) bool {
		if typ.Str == "_default_" {
			return true
		}
		_, _, problem, err = s.do(ctx, http.MethodPut, cluster.Path(index.name, "_mapping", typ.Str), []byte(s.reminded(index, m.Raw, typ.Str)))
		return problem == nil && err == nil
	})
	return problem, err
}

// unsettable are the settings that belong to the one index and its cluster.
// What ends in a dot is a group.
var unsettable = []string{
	"uuid", "version.", "provided_name", "creation_date", "creation_date_string", "resize.", "shrink.", "history.",
	"routing.allocation.", "blocks.", "frozen", "verified_before_close", "store.", "lifecycle.", "replication.",
	"soft_deletes.", "final_pipeline", // a final pipeline would run a second time at the follower
}

// creatable are an index's settings as its creation may have them.
func creatable(settings gjson.Result) string {
	out := settings.Raw
	if !settings.IsObject() {
		return "{}"
	}
	flatten("", "", settings, func(key, path string, _ gjson.Result) {
		if !settable(key) {
			out, _ = sjson.Delete(out, path)
		}
	})
	return out
}

func settable(key string) bool {
	for _, u := range unsettable {
		if key == u || (strings.HasSuffix(u, ".") && strings.HasPrefix(key, u)) {
			return false
		}
	}
	return true
}

// flatten calls f for each setting with its full name and its path in o. Lists
// and empty objects are values.
func flatten(prefix, path string, o gjson.Result, f func(key, path string, value gjson.Result)) {
	o.ForEach(func(k, v gjson.Result) bool {
		key, at := prefix+k.String(), path+gjson.Escape(k.String())
		if v.IsObject() && v.Raw != "{}" {
			flatten(key+".", at+".", v, f)
		} else {
			f(key, at, v)
		}
		return true
	})
}
