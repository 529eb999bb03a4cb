// Package catalogue holds the changes: the differences between Elasticsearch
// versions that package translate carries over, one file per subject. It is
// imported for its effect, which is to register them.
//
// To add a change: write its golden with the two outer parts taken from a real
// cluster, see it fail, add the Change to the file of its subject, run the tests
// with -rewrite and read the diff of all goldens. IDs are the rows of
// docs/differences.md.
package catalogue

import (
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// The words of package translate that every change is written with.
type (
	Change    = translate.Change
	Direction = translate.Direction
	Rule      = translate.Rule
	Exchange  = translate.Exchange
	Node      = translate.Node
	Version   = translate.Version
	Place     = translate.Place
)

var (
	nothing = Direction{Fidelity: translate.Nothing}
	// withoutRules says that a direction is exact because the newer side reads
	// the older form, too.
	withoutRules = Direction{Fidelity: translate.Exact}
)

// V makes a Version.
func V(major, minor int) Version { return translate.V(major, minor) }

// at makes a rule.
func at(p Place, do func(x *Exchange, n *Node) error) Rule { return Rule{At: p, Do: do} }

// onAPIs is at for a rule of a head that does nothing for other APIs than these; nil are
// all.
func onAPIs(p Place, apis []string, do func(x *Exchange, n *Node) error) Rule {
	return Rule{At: p, Do: do, On: apis}
}

// onCat is onAPIs for all of cat.
func onCat(p Place, do func(x *Exchange, n *Node) error) Rule {
	return onAPIs(p, []string{"cat.*"}, do)
}

// withParams is at for a rule of a head that does nothing to a request without
// parameters.
func withParams(p Place, do func(x *Exchange, n *Node) error) Rule {
	return Rule{At: p, Do: do, If: translate.WithParams}
}

// onErrors is at for a rule of AnswerHead that does nothing to an answer that is no error.
func onErrors(do func(x *Exchange, n *Node) error) Rule {
	return Rule{At: translate.AnswerHead, Do: do, If: translate.OnErrors}
}

// withTypes is at for a rule of a head that does nothing where an index has one type, nor for
// other APIs than these if there are any.
func withTypes(p Place, do func(x *Exchange, n *Node) error, apis ...string) Rule {
	return Rule{At: p, Do: do, On: apis, If: translate.ManyTypes}
}

// keyed is a rule that does nothing to a node without one of some members.
func keyed(r Rule, keys ...string) Rule {
	r.Keys = keys
	return r
}

// each makes the same rule for several places.
func each(do func(x *Exchange, n *Node) error, places ...Place) []Rule {
	var rules []Rule
	for _, p := range places {
		rules = append(rules, at(p, do))
	}
	return rules
}

// rename makes a rule that gives a member another name.
func rename(p Place, from, to string) Rule {
	return keyed(at(p, func(_ *Exchange, n *Node) error {
		n.Rename(from, to)
		return nil
	}), from)
}

// drop makes a rule that removes members.
func drop(p Place, keys ...string) Rule {
	return keyed(at(p, func(_ *Exchange, n *Node) error {
		for _, k := range keys {
			n.Drop(k)
		}
		return nil
	}), keys...)
}

// dropParams makes a rule that removes URL parameters, on the given APIs or on
// all.
func dropParams(apis []string, names ...string) Rule {
	return Rule{At: translate.RequestHead, On: apis, If: translate.WithParams, Do: func(x *Exchange, _ *Node) error {
		for _, p := range names {
			x.Params.Drop(p)
		}
		return nil
	}}
}

// renameParam makes a rule that gives a URL parameter another name, on the given
// APIs or on all.
func renameParam(apis []string, from, to string) Rule {
	return Rule{At: translate.RequestHead, On: apis, If: translate.WithParams, Do: func(x *Exchange, _ *Node) error {
		x.Params.Rename(from, to)
		return nil
	}}
}

func onAPI(x *Exchange, apis []string) bool {
	if apis == nil {
		return true
	}
	for _, a := range apis {
		if x.Asked.API == a || (strings.HasSuffix(a, ".*") && strings.HasPrefix(x.Asked.API, a[:len(a)-1])) {
			return true
		}
	}
	return false
}

// isTrue reads a boolean of a request as 5.x does.
func isTrue(r gjson.Result) bool {
	switch strings.ToLower(r.String()) {
	case "", "0", "false", "off", "no":
		return false
	}
	return true
}

func itoa(n int) string { return strconv.Itoa(n) }
