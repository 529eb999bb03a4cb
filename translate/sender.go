package translate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// LossyHeader names, in an answer, the lossy changes that the exchange needed.
const LossyHeader = "X-Esperanto-Lossy"

// OutputParams are the parameters that say how an answer is printed. They are
// taken out of a request that is translated: who gave the request applies them
// to the translated answer.
var OutputParams = []string{"pretty", "filter_path", "format"}

// smallAnswer is up to which length an answer is translated in memory at once,
// in bytes.
const smallAnswer = 256 << 10

// tinyAnswer is up to which length an answer, or what becomes of it, has little room, in bytes.
const tinyAnswer = 2 << 10

// A Sender takes requests in the client's dialect and hands them on in the
// cluster's.
type Sender struct {
	plan  *Plan
	facts Facts
	next  esapi.Sender

	// OnFired, if not nil, is told once for each exchange what it needed: as soon
	// as the answer's body has come to its end, or there is no answer. A body
	// that is not read to its end is told of when it is closed.
	OnFired func(Fired)
}

// Fired says which changes had something to do in an exchange.
type Fired struct {
	Asked   esapi.Endpoint
	Request []*Change // in the request, also if they refused it
	Answer  []*Change // in the answer alone
	Refused string    // why the translation refused the request; "" if it did not
}

// NewSender returns a Sender for clients of one version in front of next, which
// speaks the cluster's version.
func NewSender(client, cluster Version, facts Facts, next esapi.Sender) *Sender {
	return &Sender{plan: PlanFor(client, cluster), facts: facts, next: next}
}

// Send implements esapi.Sender. What cannot go through is answered with an
// *esapi.Error and nothing is sent. The body of the answer implements
// io.WriterTo; its size is bounded by nothing, the memory it takes by the largest
// single node.
func (s *Sender) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	return s.SendAsked(ctx, esapi.ParseEndpoint(r.Method, r.Path, s.plan.client), r)
}

// SendAsked is Send for a request of which is known what it asks for in the client's
// dialect.
func (s *Sender) SendAsked(ctx context.Context, asked esapi.Endpoint, r *esapi.Request) (*esapi.Response, error) {
	return s.send(ctx, s.exchange(ctx, asked, r), r)
}

func (s *Sender) send(ctx context.Context, x *Exchange, r *esapi.Request) (out *esapi.Response, err error) {
	sent, err := s.request(x, r)
	if err != nil {
		s.tell(x, len(x.fired), err)
		return nil, err
	}
	forget := s.forgets(ctx, x)
	below := &x.below
	below.next = s.next
	var answer *esapi.Response
	defer func() {
		if out == nil { // also after a panic
			closeBody(answer)
			closeBody(below.last.Load())
		}
	}()
	answer, err = chain(x.steps, below).Send(ctx, sent)
	forget() // even without an answer: the change may have been made
	asked := len(x.fired)
	if err != nil {
		if below.refused.Load() {
			s.tell(x, asked, nil) // it is not the translation that refuses
		} else {
			s.tell(x, asked, err)
		}
		return nil, err
	}
	if out, err = s.answer(x, r, answer); err != nil {
		s.tell(x, asked, err)
		return nil, err
	}
	if streamed, ok := out.Body.(*streamedBody); ok {
		streamed.ended = sync.OnceFunc(func() { s.tell(x, asked, nil) })
	} else {
		s.tell(x, asked, nil)
	}
	return out, nil
}

// tell tells what an exchange needed; the first of the changes that fired belong
// to the request.
func (s *Sender) tell(x *Exchange, asked int, err error) {
	if s.OnFired == nil {
		return
	}
	s.OnFired(Fired{Asked: x.Asked, Request: x.fired[:asked:asked], Answer: x.fired[asked:], Refused: refusal(err)})
}

// refusal is the reason of an error that refuses a request as impossible, ""
// for others.
func refusal(err error) string {
	if err == nil {
		return ""
	}
	var own *esapi.Error
	if errors.As(err, &own) && own.Type == esapi.UnsupportedType {
		return own.Reason
	}
	return ""
}

// clientHeaders say who asks.
var clientHeaders = [...]string{"Authorization", "Es-Secondary-Authorization", "Es-Security-Runas-User", "X-Opaque-Id"}

type clientKey struct{}

// AddType is Facts.AddType in the client's name.
func (x *Exchange) AddType(ctx context.Context, index, mappingType string, how TypesSetting) (IndexFacts, bool, error) {
	client := http.Header{}
	for _, name := range clientHeaders {
		if values := x.Header[name]; values != nil {
			client[name] = values
		}
	}
	return x.Facts.AddType(context.WithValue(ctx, clientKey{}, client), index, mappingType, how)
}

// ClientHeader is the header that says who asks for a type to be added; it may be
// nil. What changes the cluster has to be sent with it: else a client could
// create what it may not.
func ClientHeader(ctx context.Context) http.Header {
	h, _ := ctx.Value(clientKey{}).(http.Header)
	return h
}

// below is the Sender behind all steps, to the cluster. It sends what steps ask by
// themselves in the client's name: without that it would be refused, or done with the
// gateway's own credentials. And it notes what comes of requests.
type below struct {
	next    esapi.Sender
	client  [len(clientHeaders)][]string // of the client's request
	refused atomic.Bool                  // by what is behind it
	last    atomic.Pointer[esapi.Response]
}

// Send implements esapi.Sender.
func (b *below) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	for i, values := range b.client {
		if name := clientHeaders[i]; values != nil && r.Header[name] == nil {
			if r.Header == nil {
				r.Header = http.Header{}
			}
			r.Header[name] = values
		}
	}
	a, err := b.next.Send(ctx, r)
	if refusal(err) != "" {
		b.refused.Store(true)
	}
	if a != nil {
		b.last.Store(a)
	}
	return a, err
}

func closeBody(a *esapi.Response) {
	if a != nil && a.Body != nil {
		_ = a.Body.Close()
	}
}

// forgets returns what has to be done after a request so that Facts show its
// effect.
func (s *Sender) forgets(ctx context.Context, x *Exchange) func() {
	f, ok := s.facts.(Forgetter)
	switch {
	case ok && x.Endpoint.API == "indices.delete":
		// Which indices they are has to be asked while they are there.
		if names, err := s.facts.Expand(ctx, x.Endpoint.Index); err == nil {
			return func() { f.Forget(names...) }
		}
		return f.ForgetAll
	case ok && changesIndices(x.Endpoint.API):
		return f.ForgetAll
	}
	return func() {}
}

func (s *Sender) exchange(ctx context.Context, asked esapi.Endpoint, r *esapi.Request) *Exchange {
	x := &Exchange{
		Client: s.plan.client, Cluster: s.plan.cluster, Facts: s.facts, ctx: ctx, plan: s.plan, request: s.plan.request,
		params: r.Params.Clone(), AskedParams: r.Params, Header: r.Header,
		hasBody: len(r.Body) > 0 || r.Stream != nil && r.Length != 0,
	}
	x.setting, _ = ctx.Value(typesKey{}).(TypesSetting)
	x.Params = &x.params
	asked.TakeParams(x.Params)
	x.Asked, x.Endpoint = asked, asked
	if !r.Spare {
		x.Header = maps.Clone(r.Header)
	}
	for i, name := range clientHeaders {
		x.below.client[i] = r.Header[name]
	}
	return x
}

// request translates r.
func (s *Sender) request(x *Exchange, r *esapi.Request) (*esapi.Request, error) {
	w := newWalker(x)
	defer w.end()
	for _, p := range OutputParams {
		if !isText(x.Asked.API) {
			x.Params.Drop(p)
		}
	}
	if x.Asked.API == "" && esapi.ParseEndpoint(r.Method, r.Path, x.Cluster).API != "" {
		// The path means something on the cluster that it does not mean in the
		// client's dialect: 8.x would index a document where 5.x sees no route.
		x.Via(func(context.Context, *esapi.Request, esapi.Sender) (*esapi.Response, error) {
			return x.NoHandler(r.Path), nil
		})
		return r, nil
	}
	x.RequestBody, x.stream = r.Body, r.Stream
	if err := w.head(s.plan.request.head(RequestHead, x.Asked.API)); err != nil {
		return nil, asError(err)
	}
	sent := &x.sent
	sent.Header = x.Header
	if x.stream != nil && !s.reads(x.Endpoint.API) {
		sent.Stream, sent.Length, sent.Interrupt = x.stream, r.Length, r.Interrupt
	} else {
		body, err := readBody(x)
		if err != nil {
			return nil, err
		}
		spare := x.stream != nil || r.Spare
		if sent.Body, err = s.body(w, x.Endpoint.API, body, spare); err != nil {
			return nil, asError(err)
		}
	}
	x.RequestBody = sent.Body
	if err := w.head(s.plan.request.head(RequestEnd, x.Asked.API)); err != nil {
		return nil, asError(err)
	}
	sent.Body = x.RequestBody
	sent.Method, sent.Path = x.Endpoint.Method, x.Endpoint.Path
	if x.Endpoint.API != "" {
		method, path, ok := x.Endpoint.RequestFor(x.Cluster)
		if !ok {
			return nil, x.Refuse("the API %s (%s %s)", x.Endpoint.API, r.Method, r.Path)
		}
		sent.Method, sent.Path = method, path
	}
	sent.Params = *x.Params
	return sent, nil
}

// NoHandler is the answer of the client's version to a path or method that it
// does not have (HTTP-17).
func (x *Exchange) NoHandler(path string) *esapi.Response {
	if x.Client.Before(V(6, 0)) {
		if e := x.takenForADocument(); e != nil {
			return esapi.NewResponse(e.Status, e.JSON())
		}
		a := esapi.NewResponse(http.StatusBadRequest, []byte("No handler found for uri ["+path+"] and method ["+x.Asked.Method+"]"))
		a.Header.Set("Content-Type", "text/plain; charset=UTF-8")
		return a
	}
	others := esapi.Methods(x.Asked.Path, x.Client)
	if len(others) == 0 || slices.Contains(others, x.Asked.Method) {
		return esapi.NewResponse(http.StatusBadRequest, []byte(`{"error":`+Quote("no handler found for uri ["+path+"] and method ["+x.Asked.Method+"]")+`}`))
	}
	reason := fmt.Sprintf("Incorrect HTTP method for uri [%s] and method [%s], allowed: [%s]", path, x.Asked.Method, strings.Join(others, ", "))
	a := esapi.NewResponse(http.StatusMethodNotAllowed, []byte(`{"error":`+Quote(reason)+`,"status":405}`))
	a.Header.Set("Allow", strings.Join(others, ","))
	return a
}

// takenForADocument is the error of 5.x where it takes a path of the API, with a
// method that the API does not have there, for a document's; nil where it does
// not.
func (x *Exchange) takenForADocument() *esapi.Error {
	parts := strings.Split(strings.Trim(x.Asked.Path, "/"), "/")
	if !strings.HasPrefix(parts[0], "_") {
		return nil
	}
	switch {
	case x.Asked.Method == http.MethodGet && len(parts) == 2:
		return esapi.IllegalArgument("No endpoint or operation is available at [" + parts[1] + "]")
	case x.Asked.Method == http.MethodPost && (len(parts) == 2 || len(parts) == 3), x.Asked.Method == http.MethodPut && len(parts) == 3:
		if !x.hasBody {
			return &esapi.Error{Status: http.StatusBadRequest, Type: "parse_exception", Reason: "request body is required"}
		}
	case x.Asked.Method == http.MethodDelete && len(parts) == 3:
	default:
		return nil
	}
	return &esapi.Error{Status: http.StatusBadRequest, Type: "invalid_index_name_exception", IndexUUID: "_na_", Index: parts[0],
		Reason: "Invalid index name [" + parts[0] + "], must not start with '_', '-', or '+'"}
}

// reads reports whether request bodies of an API have to be in memory.
func (s *Sender) reads(api string) bool {
	_, isLines := requestLines[api]
	return isLines || s.plan.request.root(requestRoots, api, Body) != nil
}

func readBody(x *Exchange) ([]byte, error) {
	if x.stream == nil {
		return x.RequestBody, nil
	}
	body, err := io.ReadAll(x.stream)
	if err != nil {
		return nil, fmt.Errorf("reading the request's body: %w", err)
	}
	return body, nil
}

// body translates a request's body. What is not JSON is sent as it is: the
// cluster says what is wrong with it, in its own words. What becomes of a spare body
// may be written in its room.
func (s *Sender) body(w *walker, api string, body []byte, spare bool) ([]byte, error) {
	if l, ok := requestLines[api]; ok {
		return s.lines(w, l, body, spare)
	}
	root := s.plan.request.root(requestRoots, api, Body)
	if root == nil || len(body) == 0 {
		return body, nil
	}
	out, err := w.body(make([]byte, 0, len(body)+256), root, body)
	if isBroken(err) && !esapi.ValidJSON(body) {
		return body, nil
	}
	return out, err
}

func isBroken(err error) bool { return err == errShort || err == errSyntax }

// lines translates a body of lines. A broken line is sent as it is.
func (s *Sender) lines(w *walker, l lines, body []byte, spare bool) ([]byte, error) {
	out := newLinesOut(body, spare)
	if err := s.linesTo(out, w, l); err != nil {
		return nil, err
	}
	return out.b, nil
}

func (s *Sender) linesTo(out *linesOut, w *walker, l lines) error {
	head := s.plan.request.liveOrNil(l.Head)
	like := &out.like
	for first := true; len(out.rest) > 0; first = false {
		if items := out.again(); items > 0 {
			w.x.repeatedItems += items
			w.x.repeatedLines += 2 * items
			continue
		}
		line := out.next()
		if out.repeat(line) {
			w.x.repeatedItems++
			w.x.repeatedLines++
			if like.follows && len(out.rest) > 0 {
				w.x.repeatedLines++
				if err := s.follower(w, out, like.body, like.spares); err != nil {
					return err
				}
			}
			continue
		}
		if len(trimSpace(line)) == 0 && (l.Head == BulkAction || first && w.x.Client.Before(V(8, 0))) {
			continue // blank lines between items are skipped by all (BULK-17), up to 7.x the first of an msearch too (MS-02)
		}
		w.x.alone = false
		became, err := out.translate(w, head, line)
		if err != nil {
			return err
		}
		if l.Head == MsearchHeader {
			w.x.searched = searchedIn(became)
		}
		p, follows := l.Body(line)
		if l.Head == BulkAction {
			like.body, like.follows, like.spares = s.plan.request.liveOrNil(p), follows, false
			like.learn(w.x, line, became)
		}
		out.take()
		if !follows || len(out.rest) == 0 {
			continue
		}
		w.x.spares = false
		if err := s.follower(w, out, s.plan.request.liveOrNil(p), false); err != nil {
			return err
		}
		like.spares = w.x.spares && p == Document && len(s.plan.request.places[Document].rules) == 1
	}
	return nil
}

// follower translates the line behind a head; spared says that rules need not look into
// it if it is a document.
func (s *Sender) follower(w *walker, out *linesOut, p *place, spared bool) error {
	line := out.next()
	if p == nil {
		out.copy(bytes.TrimRight(line, "\r"))
		return nil
	}
	if spared {
		document := line
		if len(line) == 0 || line[0] != '{' || line[len(line)-1] != '}' {
			document = trimSpace(line)
		}
		if len(document) > 0 && document[0] == '{' {
			out.copy(document)
			return nil
		}
	}
	_, err := out.translate(w, p, line)
	out.take()
	return err
}

// searchedIn reads the indices in the header of a search in an msearch.
func searchedIn(header []byte) string {
	h := gjson.ParseBytes(header)
	v := h.Get("index")
	if !v.Exists() {
		v = h.Get("indices")
	}
	var names []string
	for _, name := range v.Array() {
		names = append(names, name.String())
	}
	return strings.Join(names, ",")
}

// line appends one translated line.
func (w *walker) line(dst []byte, p *place, line []byte) ([]byte, error) {
	line = bytes.TrimRight(line, "\r")
	if p != nil {
		if trimmed := trimSpace(line); len(trimmed) == 0 {
			line = []byte("{}") // an msearch header may be blank
		}
		out, err := w.body(dst, p, line)
		if err == nil {
			return append(out, '\n'), nil
		}
		if !isBroken(err) {
			return dst, err
		}
	}
	return append(append(dst, line...), '\n'), nil
}

func trimSpace(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }

func cutLine(b []byte) (line, rest []byte) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// answer translates a. If it fails, the caller closes the body.
func (s *Sender) answer(x *Exchange, asked *esapi.Request, a *esapi.Response) (*esapi.Response, error) {
	x.Status, x.AnswerHeader, x.answer = a.Status, a.Header, a
	w := newWalker(x)
	defer w.end()
	if err := w.head(s.plan.answer.head(AnswerHead, x.Asked.API)); err != nil {
		return nil, asError(err)
	}
	out := &esapi.Response{Status: x.Status, Header: x.AnswerHeader, Body: a.Body}
	if x.Replacement != nil {
		_ = a.Body.Close()
		out.Body = io.NopCloser(bytes.NewReader(x.Replacement))
		out.Header.Set("Content-Length", strconv.Itoa(len(x.Replacement)))
		return s.finish(x, out), nil
	}
	if x.Status != a.Status && asked.Method != http.MethodHead && isJSON(a.Header) {
		if err := repeatStatus(x, a); err != nil {
			return nil, asError(err)
		}
		out.Body = a.Body
	}
	root := s.plan.answer.root(answerRoots, x.Asked.API, Answer)
	if a.Status >= 400 && root == nil {
		root = s.plan.answer.liveOrNil(Answer)
	}
	atEnd, _ := x.Noted(atEndNote).(func([]byte) []byte)
	if a.Status >= 400 {
		atEnd = nil
	}
	if root == nil && atEnd == nil || asked.Method == http.MethodHead || !isJSON(a.Header) {
		return s.finish(x, out), nil
	}
	length, err := strconv.ParseInt(esapi.First(a.Header, "Content-Length"), 10, 64)
	delete(out.Header, "Content-Length")
	small := err == nil && length <= smallAnswer
	if err != nil { // of a length that is not known
		_, small = peek(a, smallAnswer)
		length = -1
	}
	if small || atEnd != nil {
		defer a.Body.Close()
		held, err := w.translated(root, a.Body, length)
		if err != nil {
			return nil, asError(err)
		}
		if atEnd != nil {
			held.Reset(atEnd(held.out))
		}
		out.Header["Content-Length"] = []string{strconv.Itoa(held.Len())}
		out.Body = held
		return s.finish(x, out), nil
	}
	if a.Status < 400 {
		x.mayLose = s.plan.mayLose(x.Asked.API, root.name)
	}
	out.Body = &streamedBody{x: x, root: root, from: a.Body}
	return s.finish(x, out), nil
}

const atEndNote = "what is done to the answer at its end"

// AtEnd lets the body of a successful answer be changed once it has been
// translated. It is held whole: that is for answers whose nodes are as large.
func (x *Exchange) AtEnd(do func(body []byte) []byte) { x.Note(atEndNote, do) }

// repeatStatus writes the status that rules have given an error into its body,
// where Elasticsearch repeats it.
func repeatStatus(x *Exchange, a *esapi.Response) error {
	body := x.AnswerBody()
	if !gjson.GetBytes(body, "error").Exists() || !gjson.GetBytes(body, "status").Exists() {
		return nil
	}
	changed, err := sjson.SetRawBytes(bytes.Clone(body), "status", []byte(strconv.Itoa(x.Status)))
	if err != nil {
		return err
	}
	_ = a.Body.Close()
	a.Body = io.NopCloser(bytes.NewReader(changed))
	a.Header.Set("Content-Length", strconv.Itoa(len(changed)))
	return nil
}

// peek reads up to limit bytes of an answer's body and puts them back. whole
// tells whether that was all; a body that breaks off is not whole, and whoever
// reads it will meet the error.
func peek(a *esapi.Response, limit int) (body []byte, whole bool) {
	if held, ok := a.Body.(*heldBody); ok {
		return held.bytes, held.whole
	}
	body, err := io.ReadAll(io.LimitReader(a.Body, int64(limit)+1))
	whole = err == nil && len(body) <= limit
	var rest io.Reader = a.Body
	if err != nil {
		rest = brokenReader{err}
	}
	a.Body = &heldBody{io.MultiReader(bytes.NewReader(body), rest), a.Body, body, whole}
	return body, whole
}

// A heldBody is a body of which the beginning has been read already.
type heldBody struct {
	io.Reader
	io.Closer
	bytes []byte
	whole bool
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

// finish sets the headers that tell what the exchange did.
func (s *Sender) finish(x *Exchange, a *esapi.Response) *esapi.Response {
	if names := x.lossyNames(); names != "" {
		a.Header.Set(LossyHeader, names)
	}
	return a
}

func translateTo(w io.Writer, x *Exchange, root *place, from io.Reader) error {
	window, out := windows.Get().(*[]byte), windows.Get().(*[]byte)
	s := &stream{walker: newWalker(x), r: from, w: w, buf: (*window)[:0], out: (*out)[:0]}
	defer s.walker.end()
	if _, err := s.peek(); err != io.EOF { // there is a body
		if err := s.run(root); err != nil {
			return err // its room is left alone, as a memoryBody's is
		}
	}
	giveRoom(window, s.buf)
	giveRoom(out, s.out)
	return nil
}

// windows are for answers that are translated while they stream, and for those in memory;
// for short ones there are others, as many connections may wait for the end of theirs.
var (
	windows = sync.Pool{New: func() any { b := make([]byte, 0, windowSize); return &b }}
	tinies  = sync.Pool{New: func() any { b := make([]byte, 0, tinyAnswer+1); return &b }}
)

// roomFor lends room for so many bytes, or for a part of them.
func roomFor(length int) *[]byte {
	if length <= tinyAnswer {
		return tinies.Get().(*[]byte)
	}
	return windows.Get().(*[]byte)
}

// giveRoom takes back what roomFor has lent, in which b was made, unless it has grown large.
func giveRoom(w *[]byte, b []byte) {
	switch n := cap(b); {
	case w == nil || n > 8*windowSize:
		return
	case n < windowSize:
		*w = b[:0]
		tinies.Put(w)
	default:
		*w = b[:0]
		windows.Put(w)
	}
}

// translated is an answer in memory; length is that of the body, -1 if it is not known.
func (w *walker) translated(root *place, from io.Reader, length int64) (*memoryBody, error) {
	var body []byte
	var err error
	if held, ok := from.(*heldBody); ok && held.whole {
		body = held.bytes
	} else if length < 0 || length > smallAnswer {
		body, err = io.ReadAll(from)
	} else {
		room := roomFor(int(length))
		body, err = readAll(from, slices.Grow((*room)[:0], int(length)+1)) // the end is told by a Read that has room
		defer func() { giveRoom(room, body) }()                            // nothing refers to it once it is translated
	}
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's answer: %w", err)
	}
	held := new(memoryBody)
	if skipSpace(body, 0) == len(body) {
		return held, nil // no body
	}
	held.take(len(body) + len(body)/8 + 128)
	s := &w.held
	*s = stream{walker: w, buf: body, eof: true, out: held.out}
	err = s.run(root)
	held.out = s.out
	*s = stream{}
	if err != nil {
		_ = held.Close()
		return nil, err
	}
	held.Reset(held.out)
	return held, nil
}

// A memoryBody is an answer's body that is in memory. The room that it takes is used again
// once it is closed.
type memoryBody struct {
	bytes.Reader
	out  []byte
	room *[]byte // that out is in; nil if it is in its own
}

// take makes room for so many bytes.
func (b *memoryBody) take(length int) {
	b.room = roomFor(length)
	b.out = slices.Grow((*b.room)[:0], length)
}

// WriteTo implements io.WriterTo. If it fails, the room is not used again: net/http may still
// send what stands in it, on a stream of HTTP/2 that was reset.
func (b *memoryBody) WriteTo(w io.Writer) (int64, error) {
	room := b.room
	b.room = nil
	n, err := b.Reader.WriteTo(w)
	if err == nil {
		b.room = room
	}
	return n, err
}

// Close implements io.Closer.
func (b *memoryBody) Close() error {
	b.Reset(nil)
	giveRoom(b.room, b.out)
	b.room, b.out = nil, nil
	return nil
}

// readAll appends what is read to b.
func readAll(from io.Reader, b []byte) ([]byte, error) {
	for {
		n, err := from.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
	}
}

// A streamedBody is translated while it is read.
type streamedBody struct {
	x    *Exchange
	root *place
	from io.ReadCloser
	pipe *io.PipeReader
	done chan struct{}

	ended func() // is called at the end, more than once
}

// WriteTo translates the whole body into w.
func (b *streamedBody) WriteTo(w io.Writer) (int64, error) {
	defer b.ended()
	c := &countingWriter{w: w}
	err := translateTo(c, b.x, b.root, b.from)
	return c.n, err
}

// Read is for readers that do not use WriteTo; a goroutine that Close ends does
// the work.
func (b *streamedBody) Read(p []byte) (int, error) {
	if b.pipe == nil {
		var w *io.PipeWriter
		b.pipe, w = io.Pipe()
		b.done = make(chan struct{})
		go func() {
			defer close(b.done)
			err := caught(func() error { return translateTo(w, b.x, b.root, b.from) })
			b.ended()
			w.CloseWithError(err)
		}()
	}
	n, err := b.pipe.Read(p)
	if bug, ok := err.(*panicked); ok {
		panic(bug) // where it does not end the process
	}
	return n, err
}

// panicked is a panic of another goroutine.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("%v\n%s", p.value, p.stack) }

func caught(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicked{p, debug.Stack()}
		}
	}()
	return do()
}

// Close gives up what has not been read.
func (b *streamedBody) Close() error {
	err := b.from.Close()
	if b.pipe != nil {
		_ = b.pipe.Close()
		<-b.done
	}
	b.ended()
	return err
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func isJSON(h http.Header) bool {
	t := esapi.First(h, "Content-Type")
	return t == "" || strings.Contains(t, "json")
}

// isText reports whether an API answers text by default, so that "format" is
// the cluster's to apply.
func isText(api string) bool {
	return strings.HasPrefix(api, "cat.") || api == "nodes.hot_threads"
}

// asError makes what a rule returned into an answer of the gateway.
func asError(err error) error {
	if isBroken(err) {
		return fmt.Errorf("translating: %w", err)
	}
	return err
}

// chain puts steps in front of a Sender.
func chain(steps []Step, last esapi.Sender) esapi.Sender {
	for i := len(steps) - 1; i >= 0; i-- {
		last = stepSender{steps[i], last}
	}
	return last
}

type stepSender struct {
	step Step
	next esapi.Sender
}

func (s stepSender) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	return s.step(ctx, r, s.next)
}
