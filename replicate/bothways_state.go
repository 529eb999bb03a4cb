package replicate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/replicate/journal"
)

// What indices are made of has no versions. So that each site carries over its own changes
// only, it is kept what both clusters had when something was carried over last: what
// is different from that at the master was changed at this site, or brought by the other
// gateway, which had it from the follower. What is different at the follower
// was changed there, and the other gateway brings it. Where both have changed the same, that of the
// cluster that counts is carried over and the other one is not. What nothing is known of
// is added where it is missing; nothing is removed then.

// A meeting is what both clusters had of something, part by part, as digests; a part
// that was not there is not in it.
type meeting struct {
	Mine   map[string]string `json:"mine"`
	Theirs map[string]string `json:"theirs"`
	// Indices are which ones of both clusters it is of: those of that name may be others
	// by now.
	Indices string `json:"indices,omitempty"`
}

// whose are the uuids of both clusters' indices, "" for what belongs to none.
func (p *pair) whose(ctx context.Context, what, name string) (string, error) {
	if !slices.Contains(indexParts, what) {
		return "", nil
	}
	mine, err := uuidOf(ctx, p.from, name)
	if err != nil {
		return "", err
	}
	theirs, err := uuidOf(ctx, p.to, name)
	return mine + "/" + theirs, err
}

func meetingKey(p *pair, what, name string) string {
	return url.PathEscape(p.from.Name()) + "/" + what + "/" + url.PathEscape(name)
}

func (p *pair) meetings() journal.Table { return p.a.r.cfg.Journal.Table("meetings") }

// lastMeeting is nil if nothing is known.
func (p *pair) lastMeeting(ctx context.Context, what, name string) (*meeting, error) {
	raw, err := p.meetings().Get(ctx, meetingKey(p, what, name))
	if err != nil || raw == nil {
		return nil, err
	}
	m := new(meeting)
	if err := json.Unmarshal(raw, m); err != nil {
		return nil, fmt.Errorf("what both clusters had of %s %s: %w", what, name, err)
	}
	if now, err := p.whose(ctx, what, name); err != nil || m.Indices != now {
		return nil, err
	}
	return m, nil
}

// met keeps what both clusters have.
func (p *pair) met(ctx context.Context, what, name string, mine, theirs map[string]string) error {
	return p.keepMeeting(ctx, what, name, &meeting{Mine: digests(mine), Theirs: digests(theirs)})
}

func (p *pair) keepMeeting(ctx context.Context, what, name string, m *meeting) error {
	key := meetingKey(p, what, name)
	var err error
	if m.Indices, err = p.whose(ctx, what, name); err != nil {
		return err
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if before, err := p.meetings().Get(ctx, key); err != nil || string(before) == string(raw) {
		return err
	}
	if len(m.Mine) == 0 && len(m.Theirs) == 0 && what != partAliases { // a definition that is gone
		return p.meetings().Delete(ctx, key)
	}
	return p.meetings().Put(ctx, key, raw)
}

// unmeet forgets what both clusters had of something: of an index, all parts.
func (p *pair) unmeet(ctx context.Context, ref stateRef) error {
	if !p.bothWays() {
		return nil
	}
	parts := []string{ref.What}
	if ref.What == whatIndex {
		parts = indexParts
	}
	for _, what := range parts {
		if err := p.meetings().Delete(ctx, meetingKey(p, what, ref.Name)); err != nil {
			return err
		}
	}
	return nil
}

// The parts of an index of which meetings are kept.
const (
	partAliases  = "aliases"
	partSettings = "settings"
	partOpen     = "open"
)

var indexParts = []string{partAliases, partSettings, partOpen}

func digests(parts map[string]string) map[string]string {
	list := make(map[string]string, len(parts))
	for key, raw := range parts {
		list[key] = digest(raw)
	}
	return list
}

func digest(raw string) string {
	sum := sha256.Sum256([]byte(raw))
	return hex.EncodeToString(sum[:8])
}

// own is what the follower is to have: of each part the master's if it is this pair's to
// carry over, else the follower's.
func (p *pair) own(ctx context.Context, what, name string, mine, theirs map[string]string) (map[string]string, error) {
	if !p.bothWays() {
		return mine, nil
	}
	last, err := p.lastMeeting(ctx, what, name)
	if err != nil {
		return nil, err
	}
	return last.merge(mine, theirs, p.counts()), nil
}

func (last *meeting) merge(mine, theirs map[string]string, counts bool) map[string]string {
	want := maps.Clone(theirs)
	if want == nil {
		want = map[string]string{}
	}
	for key, raw := range mine {
		there, has := theirs[key]
		switch {
		case last == nil && has && !counts:
		case last != nil && digest(raw) == last.Mine[key]: // not changed here
		case last != nil && !counts && has && digest(there) != last.Theirs[key]:
		case last != nil && !counts && !has && last.Theirs[key] != "": // removed there
		default:
			want[key] = raw
		}
	}
	if last == nil {
		return want
	}
	for key, there := range theirs {
		if _, has := mine[key]; !has && last.Mine[key] != "" && (counts || digest(there) == last.Theirs[key]) {
			delete(want, key)
		}
	}
	return want
}

// ownAliases is own for the aliases of indices.
func (p *pair) ownAliases(ctx context.Context, names []string, mine, theirs map[string]map[string]string) (map[string]map[string]string, error) {
	if !p.bothWays() {
		return mine, nil
	}
	want := make(map[string]map[string]string, len(names))
	for _, name := range names {
		var err error
		if want[name], err = p.own(ctx, partAliases, name, mine[name], theirs[name]); err != nil {
			return nil, err
		}
	}
	return want, nil
}

// metAliases keeps the aliases that both clusters have after they were carried over.
func (p *pair) metAliases(ctx context.Context, names []string, mine map[string]map[string]string) error {
	if !p.bothWays() {
		return nil
	}
	theirs, err := aliasesAt(ctx, p.to, names)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := p.met(ctx, partAliases, name, mine[name], theirs[name]); err != nil {
			return err
		}
	}
	return nil
}

// metSettings keeps the settings that both clusters have after they were carried over.
func (p *pair) metSettings(ctx context.Context, name string, mine map[string]string) error {
	if !p.bothWays() {
		return nil
	}
	theirs, err := settingsOf(ctx, p.to, name)
	if err != nil {
		return err
	}
	return p.met(ctx, partSettings, name, mine, theirs)
}

// ownOpen says whether the follower's index is to be open.
func (p *pair) ownOpen(ctx context.Context, name, mine, theirs string) (string, error) {
	want, err := p.own(ctx, partOpen, name, part(mine), part(theirs))
	if err == nil && want[""] == theirs {
		err = p.metOpen(ctx, name, mine, theirs)
	}
	return want[""], err
}

func (p *pair) metOpen(ctx context.Context, name, mine, theirs string) error {
	if !p.bothWays() {
		return nil
	}
	return p.met(ctx, partOpen, name, part(mine), part(theirs))
}

// ownNamed says whether a template, a pipeline or a script is this pair's to carry over.
// carried is to be called when that is done.
func (p *pair) ownNamed(ctx context.Context, ref stateRef, mine string) (mayCarry bool, carried func() error, err error) {
	if !p.bothWays() {
		return true, func() error { return nil }, nil
	}
	theirs, err := definedAt(ctx, p.to, ref)
	if err != nil {
		return false, nil, err
	}
	carried = func() error {
		theirs, err := definedAt(ctx, p.to, ref)
		if err != nil {
			return err
		}
		return p.met(ctx, ref.What, ref.Name, part(mine), part(theirs))
	}
	want, err := p.own(ctx, ref.What, ref.Name, part(mine), part(theirs))
	if err != nil {
		return false, nil, err
	}
	if want[""] == theirs && theirs != mine {
		return false, nil, carried()
	}
	return true, carried, nil
}

func part(raw string) map[string]string {
	if raw == "" {
		return nil
	}
	return map[string]string{"": raw}
}

// definedAt is what a cluster has under the name of a definition, "" if it has none or
// shows it elsewhere.
func definedAt(ctx context.Context, c *cluster.Cluster, ref stateRef) (string, error) {
	status, answer, err := c.Do(ctx, http.MethodGet, statePath(ref.What, ref.Name), nil)
	if err != nil {
		return "", err
	}
	if failed := c.Failed(status, answer); failed != nil {
		if status == http.StatusNotFound || permanent(status, "") {
			return "", nil
		}
		return "", failed
	}
	return definition(ref, answer), nil
}

// meetWait bounds how long a request waits for that.
const meetWait = 2 * time.Second

// meet keeps, before a request changes something, what both clusters have of it and nothing is
// known of: the other gateway has brought it here. What cannot be read is left out: then
// nothing is removed at the follower.
func (c *capture) meet(ctx context.Context, things []touched) {
	p := c.r.applier.pairs[c.lease.roles.master.Name()]
	if !p.bothWays() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, meetWait)
	defer cancel()
	for _, thing := range things {
		if err := p.meet(ctx, thing.stateRef); err != nil {
			c.r.log.Debug("what both clusters have before a change cannot be kept", "what", thing.What, "name", thing.Name, "reason", err)
		}
	}
}

func (p *pair) meet(ctx context.Context, ref stateRef) error {
	switch ref.What {
	case whatIndex, whatAliases:
		for _, name := range strings.Split(ref.Name, ",") {
			if err := p.meetIndex(ctx, name); err != nil {
				return err
			}
		}
	case whatTemplate, whatIndexTemplate, whatComponentTemplate, whatPipeline, whatScript:
		mine, err := definedAt(ctx, p.from, ref)
		if err != nil {
			return err
		}
		theirs, err := definedAt(ctx, p.to, ref)
		if err != nil {
			return err
		}
		return p.meetAlso(ctx, ref.What, ref.Name, part(mine), part(theirs))
	}
	return nil
}

func (p *pair) meetIndex(ctx context.Context, name string) error {
	var all [2]struct {
		settings map[string]string
		aliases  map[string]map[string]string
		open     string
	}
	for i, c := range []*cluster.Cluster{p.from, p.to} {
		var err error
		if all[i].settings, err = settingsOf(ctx, c, name); err != nil || len(all[i].settings) == 0 {
			return notGone(err)
		}
		if all[i].aliases, err = aliasesAt(ctx, c, []string{name}); err != nil {
			return err
		}
		if all[i].open, err = openState(ctx, c, name); err != nil {
			return err
		}
	}
	return errors.Join(
		p.meetAlso(ctx, partSettings, name, all[0].settings, all[1].settings),
		p.meetAlso(ctx, partAliases, name, all[0].aliases[name], all[1].aliases[name]),
		p.meetAlso(ctx, partOpen, name, part(all[0].open), part(all[1].open)))
}

// meetAlso adds to a meeting what both clusters have and it does not know.
func (p *pair) meetAlso(ctx context.Context, what, name string, mine, theirs map[string]string) error {
	last, err := p.lastMeeting(ctx, what, name)
	if err != nil {
		return err
	}
	if last == nil {
		last = &meeting{Mine: map[string]string{}, Theirs: map[string]string{}}
	}
	news := false
	for key, raw := range mine {
		there, both := theirs[key]
		if _, known := last.Mine[key]; both && !known {
			last.Mine[key], last.Theirs[key], news = digest(raw), digest(there), true
		}
	}
	if !news {
		return nil
	}
	return p.keepMeeting(ctx, what, name, last)
}

// survives reports whether an index of the follower is not the one whose deletion at the
// master is told of, but was made since.
func (p *pair) survives(ctx context.Context, name string, deleted time.Time) (bool, error) {
	made, err := madeAt(ctx, p.to, name)
	return err == nil && !made.IsZero() && !made.Before(deleted.Truncate(time.Millisecond)), err
}

// A deletion is that of an index of the master, which is to be carried out at the follower.
type deletion struct {
	at   time.Time // when it was told of
	done bool      // with both_ways: what is there now was made since
}

// deletedAt is nil if an index was not deleted.
func deletedAt(at time.Time, deleted bool) *deletion {
	if !deleted {
		return nil
	}
	return &deletion{at: at}
}

// deleteOnce deletes an index of the follower; with both_ways only if it is not one that
// the other site has made since, also since an earlier attempt.
func (p *pair) deleteOnce(ctx context.Context, name string, d *deletion) (problem, err error) {
	if !p.bothWays() {
		return p.deleteIndex(ctx, name)
	}
	if d.done {
		return nil, nil
	}
	kept, err := p.survives(ctx, name, d.at)
	if err == nil && !kept {
		problem, err = p.deleteIndex(ctx, name)
	}
	d.done = problem == nil && err == nil
	return problem, err
}

// madeAt is when an index was made, zero if there is none.
func madeAt(ctx context.Context, c *cluster.Cluster, name string) (time.Time, error) {
	settings, err := settingsOf(ctx, c, name)
	if gone(err) || err != nil {
		return time.Time{}, notGone(err)
	}
	raw, err := strconv.Unquote(settings["creation_date"])
	if err != nil {
		return time.Time{}, nil // an alias of that name
	}
	ms, err := strconv.ParseInt(raw, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("cluster %s: index %s was made at %q: %w", c.Name(), name, raw, err)
	}
	return time.UnixMilli(ms), nil
}

func notGone(err error) error {
	if gone(err) {
		return nil
	}
	return err
}
