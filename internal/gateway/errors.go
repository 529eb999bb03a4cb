package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// fail answers r with an error in Elasticsearch's shape.
func (g *Gateway) fail(w *answer, r *http.Request, dialect esapi.Version, err error) {
	if r.Context().Err() != nil {
		w.WriteHeader(statusClientGone) // as reverse_proxy does: without it the client, if it reads on, is told 200
		return
	}
	e := answerTo(err)
	if e.Status >= 500 {
		g.Logger.Warn("a request was not carried out", "method", r.Method, "path", r.URL.Path, "status", e.Status, "reason", e.Reason)
	}
	delete(w.Header(), "Server")
	esapi.WriteError(w, r, e, dialect)
}

// Unavailable answers a request that came before the gateway was ready, or
// after it could not be made ready.
func Unavailable(w http.ResponseWriter, r *http.Request, err error) {
	esapi.WriteError(&answer{ResponseWriter: w}, r, esapi.Unavailable(err.Error()), esapi.Version{})
}

// answerTo makes an error answer of what went wrong.
func answerTo(err error) *esapi.Error {
	var (
		own       *esapi.Error
		notReady  *unavailable
		netErr    net.Error
		isNet     = errors.As(err, &netErr)
		isTimeout = errors.Is(err, context.DeadlineExceeded) || isNet && netErr.Timeout()
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &notReady), errors.Is(err, esapi.ErrNotSent):
		return esapi.Unavailable(err.Error())
	case isTimeout:
		return &esapi.Error{Status: http.StatusGatewayTimeout, Type: esapi.UnavailableType,
			Reason: "the cluster did not answer in time; a write may have been carried out: " + err.Error()}
	}
	return &esapi.Error{Status: http.StatusBadGateway, Type: esapi.UnavailableType,
		Reason: "the cluster's answer was lost; a write may have been carried out: " + err.Error()}
}

func tooLarge(limit int64) error {
	return &esapi.Error{Status: http.StatusRequestEntityTooLarge, Type: "content_too_long_exception",
		Reason: fmt.Sprintf("the request's body is larger than the %d bytes that max_body of the gateway allows", limit)}
}

func badRequest(reason string) error { return esapi.IllegalArgument(reason) }
