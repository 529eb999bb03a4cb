package gateway

import (
	"bytes"
	"io"
	"net/http"
	"sync"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// A Watcher looks at requests beside their way to the cluster.
type Watcher interface {
	// Wants decides what a request is shown for, 0 if it is not.
	Wants(api string) Purpose
	// Seen is shown a request once it has been answered. It returns at once.
	Seen(s Sight)
}

// A Purpose is what a Watcher wants a request for; it chooses the values.
type Purpose uint8

// A Sight is what a Watcher sees of a request.
type Sight struct {
	For      Purpose
	Dialect  esapi.Version
	Endpoint esapi.Endpoint
	// Request is as the client sent it, but for headers that do not tell what it
	// asks for: no credentials. Its body is there if Whole; it may be gzip, as
	// its Content-Encoding says.
	Request *esapi.Request
	Whole   bool
	// By is the cluster that it was for, nil if it came to none.
	By *cluster.Cluster
	// Fired is what the translation for By needed, nil if there was none.
	Fired  *translate.Fired
	Status int
	// Types is what becomes of several types in an index of 5.x clients.
	Types translate.TypesSetting
}

// seenBody is up to which length a body is kept for a Watcher, in bytes.
const seenBody = 256 << 10

// A look gathers what a Watcher is to see of a request. A nil look gathers
// nothing.
type look struct {
	Sight
	to   Watcher
	body *keptBody
}

// look begins to look at a request, if anyone wants to see it.
func (g *Gateway) look(r *http.Request, e esapi.Endpoint, dialect esapi.Version) *look {
	if g.Watch == nil {
		return nil
	}
	purpose := g.Watch.Wants(e.API)
	if purpose == 0 {
		return nil
	}
	l := &look{to: g.Watch}
	l.For, l.Dialect, l.Endpoint, l.Types = purpose, dialect, e, g.Types
	l.Request = &esapi.Request{Method: r.Method, Path: r.URL.EscapedPath(), Params: esapi.ParseParams(r.URL.RawQuery), Header: http.Header{}}
	for _, name := range []string{"Accept", "Content-Type", "Content-Encoding"} {
		if v := r.Header.Get(name); v != "" {
			l.Request.Header.Set(name, v)
		}
	}
	return l
}

// forwarded looks at the body while it is being forwarded.
func (l *look) forwarded(r *http.Request, to *cluster.Cluster) {
	if l == nil {
		return
	}
	l.By = to
	if r.Body == nil || r.ContentLength == 0 {
		l.Whole = true
	} else if r.ContentLength <= seenBody {
		l.body = &keptBody{ReadCloser: r.Body, length: r.ContentLength}
		r.Body = l.body
	}
}

// read takes over the body of a request that is in memory, unpacked.
func (l *look) read(req *esapi.Request, to *cluster.Cluster) {
	if l == nil {
		return
	}
	l.By = to
	l.Request.Header.Del("Content-Encoding")
	if t := req.Header.Get("Content-Type"); t != "" {
		l.Request.Header.Set("Content-Type", t) // it may have been made JSON
	}
	if req.Stream == nil && len(req.Body) <= seenBody {
		l.Request.Body, l.Whole = req.Body, true
	}
}

// keeps reports whether the request's body is looked at later.
func (l *look) keeps() bool { return l != nil && len(l.Request.Body) > 0 }

// fired notes what the translation needed, and tells others too.
func (l *look) fired(others func(translate.Fired)) func(translate.Fired) {
	if l == nil {
		return others
	}
	return func(f translate.Fired) {
		l.Fired = &f
		if others != nil {
			others(f)
		}
	}
}

// end shows what was seen.
func (l *look) end(w *answer) {
	if l == nil {
		return
	}
	if l.body != nil {
		l.Request.Body, l.Whole = l.body.all()
	}
	l.Status = w.status
	l.to.Seen(l.Sight)
}

// A keptBody keeps what is read of a body. Whoever forwards it may still be
// reading when the request has been answered.
type keptBody struct {
	io.ReadCloser
	length int64 // -1 if it is not known

	mu    sync.Mutex
	kept  bytes.Buffer
	over  bool
	ended bool
}

// Read implements io.Reader.
func (k *keptBody) Read(b []byte) (int, error) {
	n, err := k.ReadCloser.Read(b)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over = k.over || k.kept.Len()+n > seenBody; !k.over {
		k.kept.Write(b[:n])
	}
	k.ended = k.ended || err == io.EOF
	return n, err
}

func (k *keptBody) all() (body []byte, whole bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over || !k.ended && int64(k.kept.Len()) != k.length {
		return nil, false
	}
	return bytes.Clone(k.kept.Bytes()), true
}
