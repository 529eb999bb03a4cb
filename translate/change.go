package translate

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// Version is an Elasticsearch version.
type Version = esapi.Version

// V makes a Version, such as V(7, 0).
func V(major, minor int) Version { return esapi.V(major, minor) }

// A Change is one difference between Elasticsearch versions.
type Change struct {
	ID   string // the row in docs/differences.md, such as "SRCH-03"
	Name string // what happened, beginning with the thing that changed

	// Since is the first version that knows the newer form, Removed the first
	// that refuses the older one; a zero Removed means Since. A change without
	// Since belongs to the gateway itself and is part of every plan.
	Since   Version
	Removed Version

	// Crossing keeps a change without Since out of the plans of equal versions,
	// which forward requests unread.
	Crossing bool

	// Doc tells an application's developer in one or two sentences what is
	// different.
	Doc string

	OldClient Direction // older client, newer cluster
	NewClient Direction // newer client, older cluster
}

// A Direction is what happens on one of the two ways across a Change.
type Direction struct {
	Fidelity Fidelity
	Loses    string // what is lost; required unless Fidelity is Exact or Nothing
	Request  []Rule
	Response []Rule
}

// A Rule runs on every node of its place. It may change that node, and the
// exchange's endpoint, parameters and headers; it leaves all other nodes alone.
// An error ends the exchange; x.Refuse makes one.
type Rule struct {
	At Place
	Do func(x *Exchange, n *Node) error

	// There are many rules, and most can do nothing to most requests: these are not
	// asked. On are the APIs, as clients ask them, that a rule is for, "cat.*" all of
	// cat, if it is one of a head; nil are all. If is what else must be so.
	On []string
	If Condition

	// Keys, if not nil, are members of which a node must have one for the rule to have
	// something to do.
	Keys []string

	// From and Before are the clients that the rule is for, if set: those of a version
	// from one on and before another.
	From, Before Version
}

// isFor reports whether the rule is for clients of a version.
func (r *Rule) isFor(client Version) bool {
	return client.AtLeast(r.From) && (r.Before.IsZero() || client.Before(r.Before))
}

// A Condition is what must be so of an exchange for a rule of a head to have something
// to do.
type Condition uint8

const (
	Always     Condition = iota
	WithParams           // there are parameters
	OnErrors             // the cluster, or a rule, answers with an error
	ManyTypes            // indices may have several types
)

func (x *Exchange) meets(c Condition) bool {
	switch c {
	case WithParams:
		return x.Params.Len() > 0
	case OnErrors:
		return x.Status >= http.StatusBadRequest
	case ManyTypes:
		return x.Types() != RefuseTypes
	}
	return true
}

// isOn reports whether the rule is for an API.
func isOn(apis []string, api string) bool {
	for _, on := range apis {
		if family, all := strings.CutSuffix(on, "*"); on == api || all && strings.HasPrefix(api, family) {
			return true
		}
	}
	return apis == nil
}

// Fidelity says how good a direction is.
type Fidelity int

const (
	_       Fidelity = iota
	Nothing          // nothing has to be done in this direction
	Exact            // the application cannot tell
	Lossy            // works, but something is approximated or dropped
	Refused          // cannot go through: a clear error
)

// String gives the word that the documents use.
func (f Fidelity) String() string {
	switch f {
	case Nothing:
		return "nothing to do"
	case Exact:
		return "exact"
	case Lossy:
		return "lossy"
	case Refused:
		return "refused"
	}
	return "missing"
}

// Between returns the direction that a client of one version has to cross
// towards a cluster of another, or nil if the change does not lie between them.
func (c *Change) Between(client, cluster Version) *Direction {
	removed := cmp.Or(c.Removed, c.Since)
	switch {
	case c.Since.IsZero() && c.Crossing && client.SameDialect(cluster):
		return nil
	case c.Since.IsZero():
		return &c.OldClient
	case client.Before(removed) && cluster.AtLeast(removed):
		return &c.OldClient
	case cluster.Before(c.Since) && client.AtLeast(c.Since):
		return &c.NewClient
	}
	return nil
}

// check reports what is missing in a change.
func (c *Change) check() error {
	if c.ID == "" || c.Name == "" || c.Doc == "" {
		return fmt.Errorf("change %q %q lacks ID, Name or Doc", c.ID, c.Name)
	}
	for _, d := range []struct {
		way string
		Direction
	}{{"OldClient", c.OldClient}, {"NewClient", c.NewClient}} {
		if c.Since.IsZero() && d.way == "NewClient" {
			continue
		}
		switch d.Fidelity {
		case Exact, Nothing:
		case Lossy, Refused:
			if d.Loses == "" {
				return fmt.Errorf("change %s %s: %s is %s but does not say what is lost", c.ID, c.Name, d.way, d.Fidelity)
			}
		default:
			return fmt.Errorf("change %s %s: %s has no fidelity", c.ID, c.Name, d.way)
		}
		if d.Fidelity == Nothing && len(d.Request)+len(d.Response) > 0 {
			return fmt.Errorf("change %s %s: %s has rules but says that nothing has to be done", c.ID, c.Name, d.way)
		}
		for _, r := range slices.Concat(d.Request, d.Response) {
			if _, ok := grammar[r.At]; !ok {
				return fmt.Errorf("change %s %s: there is no place %q in the grammar", c.ID, c.Name, r.At)
			}
			head := r.At == RequestHead || r.At == RequestEnd || r.At == AnswerHead
			if !head && (r.On != nil || r.If != Always && r.If != ManyTypes) {
				return fmt.Errorf("change %s %s: only rules of heads are for some APIs: the one at %q is asked for all", c.ID, c.Name, r.At)
			}
			if head && r.Keys != nil {
				return fmt.Errorf("change %s %s: %s has no members", c.ID, c.Name, r.At)
			}
		}
	}
	return nil
}

// registered is the catalogue, in the order of the versions.
var registered []*Change

// Register adds changes to the catalogue. It is called by package catalogue
// while the program starts, and panics on a change that is not complete or
// whose name is taken: one row may need several changes, each with its own name.
func Register(changes ...*Change) {
	names := map[string]bool{}
	for _, c := range registered {
		names[c.ID+" "+c.Name] = true
	}
	for _, c := range changes {
		if err := c.check(); err != nil {
			panic("translate: " + err.Error())
		}
		if key := c.ID + " " + c.Name; names[key] {
			panic("translate: change " + key + " is registered twice")
		} else {
			names[key] = true
		}
	}
	registered = append(registered, changes...)
	slices.SortStableFunc(registered, compareChanges)
}

// compareChanges orders by version, then by ID, so that the order does not
// depend on the order of files.
func compareChanges(a, b *Change) int {
	switch {
	case a.Since.Before(b.Since):
		return -1
	case b.Since.Before(a.Since):
		return 1
	}
	return cmp.Or(strings.Compare(a.ID, b.ID), strings.Compare(a.Name, b.Name))
}

// Changes returns the catalogue in the order of the versions.
func Changes() []*Change { return slices.Clone(registered) }
