package translate

// A Place is a kind of JSON node, wherever it occurs: a Hit is a hit in a
// search, a scroll page, an msearch, inner hits or top hits. The grammar says
// where places occur.
type Place string

// A shape says which places the members or elements of a node are. An array at
// a place stands for its elements, each at that place, unless the shape is a
// List: Elasticsearch takes one or many almost everywhere.
type shape struct {
	Members map[string]Place // members by key
	Each    Place            // every other member; "" leaves them alone
	List    bool             // the array itself is the node; its elements are at Each
	Stream  bool             // may be large: visited member by member, see Part

	// A node for which IsToo holds, once the rules of its place have run, is at
	// the place Too as well, and the rules of that run next.
	Too   Place
	IsToo func(n *Node) bool
}

// lines says that a body is lines of JSON: heads and, behind most of them, a
// body.
type lines struct {
	Head Place
	// Body tells what follows a head line, and whether anything does.
	Body func(head []byte) (p Place, follows bool)
}
