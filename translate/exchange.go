package translate

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// An Exchange is one request and its answer on their way through a plan. Rules
// read and change it; it belongs to one request and is not safe for concurrent
// use.
type Exchange struct {
	Client  Version // of the client's dialect
	Cluster Version // of the cluster that answers
	Facts   Facts   // of the cluster that answers

	// The request. Asked is the endpoint as the client wrote it; Endpoint,
	// Params and Header are what is going to be sent.
	Asked    esapi.Endpoint
	Endpoint esapi.Endpoint
	Params   *esapi.Params
	Header   http.Header

	// AskedParams are the parameters as they came.
	AskedParams esapi.Params

	// RequestBody is the body as it came while rules of RequestHead run, and as
	// it is going to be sent while those of RequestEnd run; they may replace it.
	// It is nil while a body that no rule needs is streamed.
	RequestBody []byte

	// Status and AnswerHeader belong to the answer; rules for the answer may
	// change them.
	Status       int
	AnswerHeader http.Header

	// Replacement, if a rule of AnswerHead sets it, is given to the client in
	// place of the cluster's body.
	Replacement []byte

	setting  TypesSetting
	hasBody  bool     // the request came with a body
	searched string   // the indices of the line of an msearch
	request  *ruleSet // of the plan

	ctx        context.Context
	plan       *Plan
	params     esapi.Params  // Params points at them
	sent       esapi.Request // what the cluster is sent
	below      below
	stream     io.Reader
	answer     *esapi.Response
	notes      notes
	steps      []Step
	quiet      int // of the steps
	fired      []*Change
	mayLose    []*Change // lossy ones that a large answer may need: it has not been translated yet
	trace      func(c *Change, p Place, was, becomes []byte)
	alone      bool                         // the item that is being visited
	typed      struct{ index, name string } // of TypeOf, the first
	types      map[string]string            // the others, by index
	askedTypes map[string]string
	edits      int

	repeatedItems, repeatedLines int  // of a bulk
	spares                       bool // its documents need no look

	err error // of a helper that returns none; it ends the exchange
}

// A Step carries out a request in the cluster's dialect with more than one
// request, or looks at it before it is sent. It calls next for what it sends and
// returns an answer in the cluster's dialect.
type Step func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error)

// Context is the request's.
func (x *Exchange) Context() context.Context { return x.ctx }

// Searched is the expression of indices that the search is about whose body is
// being translated: that of the path, or of the line of an msearch.
func (x *Exchange) Searched() string {
	if x.searched != "" {
		return x.searched
	}
	return x.Endpoint.Index
}

// TranslateRequest takes JSON that stands at a place of requests through the
// plan: for steps that come by a piece of a request late.
func (x *Exchange) TranslateRequest(p Place, raw []byte) ([]byte, error) {
	w := newWalker(x)
	defer w.end()
	return w.body(nil, x.request.liveOrNil(p), raw)
}

// TranslateSearch takes a search of some indices through the plan, as a line of
// an msearch would be.
func (x *Exchange) TranslateSearch(indices string, raw []byte) ([]byte, error) {
	before := x.searched
	defer func() { x.searched = before }()
	x.searched = indices
	return x.TranslateRequest(SearchBody, raw)
}

// Via adds a step. Steps run in the order in which they were added, each around
// the next.
func (x *Exchange) Via(s Step) { x.steps = append(x.steps, s) }

// ViaPerhaps is Via for a step that seldom has something to do: adding it is
// nothing that the change counts for.
func (x *Exchange) ViaPerhaps(s Step) {
	x.steps = append(x.steps, s)
	x.quiet++
}

// AnswerBody is the cluster's answer, for rules of AnswerHead that cannot decide
// by status and headers alone: they look only at what they must, such as errors.
// It is nil if the answer is too large to be held, or has no body.
func (x *Exchange) AnswerBody() []byte {
	if x.answer == nil {
		return nil
	}
	body, whole := peek(x.answer, smallAnswer)
	if !whole {
		return nil
	}
	return body
}

// Note remembers a value on the request's side for the answer's.
func (x *Exchange) Note(key string, v any) {
	x.notes.set(key, v)
}

// Noted returns what Note remembered, or nil.
func (x *Exchange) Noted(key string) any { return x.notes.get(key) }

// notes are mostly few: a map would cost more than it saves.
type notes struct {
	n   int
	few [6]struct {
		key string
		v   any
	}
	others map[string]any
}

func (n *notes) set(key string, v any) {
	for i := range n.few[:n.n] {
		if n.few[i].key == key {
			n.few[i].v = v
			return
		}
	}
	if n.n < len(n.few) {
		n.few[n.n].key, n.few[n.n].v = key, v
		n.n++
		return
	}
	if n.others == nil {
		n.others = map[string]any{}
	}
	n.others[key] = v
}

func (n *notes) get(key string) any {
	for i := range n.few[:n.n] {
		if n.few[i].key == key {
			return n.few[i].v
		}
	}
	return n.others[key]
}

// Refuse makes the error for a request that cannot go through; feature names
// what the cluster does not have.
func (x *Exchange) Refuse(feature string, args ...any) error {
	return esapi.Unsupported(fmt.Sprintf("%s: not possible for a %s client on an Elasticsearch %s cluster",
		fmt.Sprintf(feature, args...), x.Client.Short(), x.Cluster))
}

// defaultType is the type that typeless clients see.
const defaultType = "_doc"

// TypeOf is the mapping type that the client is to see for an index: the one
// known for it, else the one it asked with, else "_doc".
func (x *Exchange) TypeOf(index string) string {
	if x.typed.name != "" && x.typed.index == index {
		return x.typed.name
	}
	if t, ok := x.types[index]; ok {
		return t
	}
	t := ""
	if x.Facts != nil {
		// What was learned for an index is told before the index is seen.
		if f, _, err := x.Facts.Index(x.ctx, index); err == nil {
			t = f.Type
		}
	}
	if t == "" {
		t = x.askedTypes[index]
	}
	if t == "" && x.Asked.Type != "" && !strings.ContainsAny(x.Asked.Type, ",*") && x.Asked.Type != "_all" {
		t = x.Asked.Type
	}
	if t == "" {
		t = defaultType
	}
	if x.typed.name == "" {
		x.typed.index, x.typed.name = index, t
		return t
	}
	if x.types == nil {
		x.types = map[string]string{}
	}
	x.types[index] = t
	return t
}

// AskedWith remembers the type that an item of the request's body names for its
// index: TypeOf gives it back if no other is known.
func (x *Exchange) AskedWith(index, mappingType string) {
	if x.askedTypes == nil {
		x.askedTypes = map[string]string{}
	}
	if mappingType != "" && x.askedTypes[index] == "" {
		x.askedTypes[index] = mappingType
	}
}

// ClusterType is the type name that a cluster before 7.0 needs for a document of
// this index: the real one if the index exists, else the one asked with, else
// "_doc", or "doc" where a name may not begin with an underscore (before 6.2).
// If the cluster cannot be asked the exchange fails: a guess could make a second
// type.
func (x *Exchange) ClusterType(index string) string {
	if x.Facts != nil {
		f, ok, err := x.Facts.Index(x.ctx, index)
		if err != nil {
			x.err = cmp.Or(x.err, err)
		}
		if ok && f.Type != "" {
			return f.Type
		}
	}
	if t := x.Asked.Type; t != "" && (t != defaultType || x.Cluster.AtLeast(V(6, 2))) {
		return t
	}
	if x.Cluster.Before(V(6, 2)) {
		return "doc"
	}
	return defaultType
}

// fire notes that a change had something to do.
func (x *Exchange) fire(c *Change) {
	for _, f := range x.fired {
		if f == c {
			return
		}
	}
	if x.fired == nil {
		x.fired = make([]*Change, 0, 8)
	}
	x.fired = append(x.fired, c)
}

// Fired returns the changes that had something to do, in order.
func (x *Exchange) Fired() []*Change { return x.fired }

// lossyNames lists the lossy changes that fired, or may yet, for the answer's
// header.
func (x *Exchange) lossyNames() string {
	var names []string
	for _, changes := range [...][]*Change{x.fired, x.mayLose} {
		for _, c := range changes {
			if x.plan.lossy[c] && !slices.Contains(names, c.Name) {
				names = append(names, c.Name)
			}
		}
	}
	return strings.Join(names, ", ")
}

type gatewayAddressKey struct{}

// WithGatewayAddress tells the translation under which "host:port" the client
// reached the gateway, which is what sniffing clients have to be told.
func WithGatewayAddress(ctx context.Context, address string) context.Context {
	return context.WithValue(ctx, gatewayAddressKey{}, address)
}

// GatewayAddress is the "host:port" under which the client reached the gateway,
// "" if it is not known.
func (x *Exchange) GatewayAddress() string {
	s, _ := x.ctx.Value(gatewayAddressKey{}).(string)
	return s
}

// marks tell whether rules have changed anything beside the body.
type marks struct {
	edits, status int
}

func (x *Exchange) marks() marks {
	edits := x.Params.Mods() + len(x.steps) - x.quiet + x.edits
	if x.Replacement != nil {
		edits++
	}
	return marks{edits, x.Status}
}

// Edited tells that a rule has changed the endpoint or a header, so that the
// change counts as one that had something to do.
func (x *Exchange) Edited() { x.edits++ }
