package gateway

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// An answer is the http.ResponseWriter for the client. It notes what was
// written and names the product, without which newer clients refuse to work.
type answer struct {
	http.ResponseWriter
	wrote  bool
	status int
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if status >= 200 && !a.wrote {
		a.wrote, a.status = true, status
		if h := a.Header(); !slices.Equal(h["X-Elastic-Product"], product) {
			h["X-Elastic-Product"] = []string{"Elasticsearch"}
		}
	}
	a.ResponseWriter.WriteHeader(status)
}

var product = []string{"Elasticsearch"}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	if !a.wrote {
		a.WriteHeader(http.StatusOK)
	}
	return a.ResponseWriter.Write(b)
}

// ReadFrom implements io.ReaderFrom.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	if !a.wrote {
		a.WriteHeader(http.StatusOK)
	}
	return io.Copy(a.ResponseWriter, r)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// An exchange is what an answer to one request depends on.
type exchange struct {
	asked   *http.Request
	dialect esapi.Version

	applies bool // the form of the answer is the gateway's to choose
	options esapi.OutputOptions
	changed bool // the options ask for a form that the answer does not have
}

// take makes a request's body JSON and takes the output options out of it, as
// neither the translation nor the capture can work with another form, or with an
// answer that lacks parts. What answers text prints itself.
func (x *exchange) take(r *esapi.Request, e esapi.Endpoint, maxBody int64) error {
	came, err := plainBody(r, e, x.dialect, maxBody)
	if err != nil {
		return err
	}
	if strings.HasPrefix(e.API, "cat.") {
		x.takeTable(r)
		return nil
	}
	if e.API == "nodes.hot_threads" {
		return nil
	}
	accept := esapi.First(r.Header, "Accept")
	x.applies = true
	x.options, x.changed = esapi.OutputFrom(&r.Params, accept)
	x.options.PlainNames = x.dialect.Before(esapi.V(7, 0))
	if came != "" && came != esapi.JSON && !r.Params.Has("format") && esapi.FormatOf(accept) == "" {
		x.options.Format, x.changed = came, true // who asks in a format is answered in it
	}
	for _, name := range translate.OutputParams {
		r.Params.Drop(name)
	}
	if x.options.Format != "" && accept != "" {
		r.Header.Set("Accept", "application/json")
	}
	return nil
}

// write copies the cluster's answer to the client. An error means that nothing
// was written; an answer that breaks off later panics with
// http.ErrAbortHandler, so that the client's connection is closed.
func (x *exchange) write(w *answer, res *esapi.Response) error {
	defer res.Body.Close()
	h := w.Header()
	delete(h, "Server") // Elasticsearch has none
	for name, values := range res.Header {
		switch name {
		case "Connection", "Keep-Alive", "Transfer-Encoding", "Trailer", "Upgrade", "Date":
		default:
			h[name] = values
		}
	}
	rewritten := false
	if x.applies && isJSON(res.Header) {
		h["Content-Type"] = []string{esapi.ContentType(x.options.Format, esapi.First(x.asked.Header, "Accept"), x.dialect)}
		rewritten = x.changed
	}
	if x.asked.Method == http.MethodHead {
		w.WriteHeader(res.Status)
		return nil
	}
	if rewritten {
		delete(h, "Content-Length")
	}
	_, known := h["Content-Length"]
	w.WriteHeader(res.Status)

	to := io.Writer(w)
	if !known {
		to = &flushing{w: w, c: http.NewResponseController(w)}
	}
	var out io.WriteCloser
	if rewritten {
		if res.Status >= 400 {
			x.options.FilterPath = nil // Elasticsearch does not filter errors
		}
		out = esapi.NewOutput(to, x.options)
		to = out
	}
	var err error
	if from, ok := res.Body.(io.WriterTo); ok {
		_, err = from.WriteTo(to)
	} else {
		_, err = io.Copy(onlyWriter{to}, res.Body)
	}
	if out != nil && err == nil {
		err = out.Close()
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

func isJSON(h http.Header) bool {
	t := esapi.First(h, "Content-Type")
	return strings.HasPrefix(t, "application/json") || strings.HasPrefix(t, "application/vnd.elasticsearch+json")
}

// onlyWriter keeps io.Copy from handing the whole copy to what is behind, which
// would not flush.
type onlyWriter struct{ io.Writer }

// flushing flushes what has gathered, so that an answer of unknown length
// arrives as it streams.
type flushing struct {
	w       io.Writer
	c       *http.ResponseController
	pending int
}

// flushAfter is how much is written between flushes, in bytes. Each is a system
// call and a chunk of its own.
const flushAfter = 32 << 10

func (f *flushing) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	if f.pending += n; f.pending >= flushAfter && err == nil {
		f.pending = 0
		if err = f.c.Flush(); errors.Is(err, http.ErrNotSupported) {
			err = nil
		}
	}
	return n, err
}
