package esapi

// A node is a place in the tree of paths of one dialect.
type node struct {
	words    map[string]*node // next segment is a word of the API
	variable *node            // next segment is a variable
	routes   [len(verbs)]*route
	routed   bool  // has a route, of whatever method
	methods  uint8 // of all its routes, a bit for each: also of those that only requests with compatible-with=7 reach
}

// insert adds a route for one method. The first of several routes of one shape
// stays.
func (n *node) insert(r *route, verb int) {
	for i := range r.segments {
		s := &r.segments[i]
		next := n.variable
		if s.part == literal {
			next = n.words[s.text]
		}
		if next == nil {
			next = new(node)
			if s.part != literal {
				n.variable = next
			} else {
				if n.words == nil {
					n.words = map[string]*node{}
				}
				n.words[s.text] = next
			}
		}
		n = next
	}
	n.routed = true
	if verb == noVerb {
		n.methods |= r.verbs
		return
	}
	n.methods |= 1 << verb
	if n.routes[verb] == nil {
		n.routes[verb] = r
	}
}

// The rounds in which Elasticsearch asks its tree: where a segment that is not
// a word of the API may be a variable.
const (
	literalsOnly = iota
	variableFirst
	variableLast
	variablesAnywhere
)

// find returns the node of a path in one round, nil if there is none.
func (n *node) find(segments []string, depth, round int) *node {
	text := segments[depth]
	last := depth == len(segments)-1

	next, variable := n.words[text], false
	switch {
	case text == "*" && n.variable != nil: // the tree's own word for a variable
		next, variable = n.variable, true
	case next == nil:
		allowed := round == variablesAnywhere || round == variableFirst && depth == 0 || round == variableLast && last
		if !allowed || n.variable == nil {
			return nil
		}
		next, variable = n.variable, true
	case !next.routed && n.variable != nil:
		if last && round >= variableLast || depth == 0 && round == variableFirst {
			next, variable = n.variable, true
		}
	}
	if last {
		if next.routed {
			return next
		}
		return nil
	}
	found := next.find(segments, depth+1, round)
	if found == nil && !variable && round != literalsOnly && n.variable != nil {
		found = n.variable.find(segments, depth+1, round)
	}
	return found
}
