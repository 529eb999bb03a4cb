package handover

import (
	"runtime"
	"slices"
	"strings"
)

// isDropped reports, when net/http closes a connection on which it has read a request, that it
// has called no handler for it: a server that shuts down takes the connection for idle, or does
// not serve what it has read. Who calls tells: a handler that panics is among them. In doubt, or
// if net/http does otherwise one day, it is not dropped; TestDropped fails then.
//
// Nothing else tells. Behind the last look at whether it shuts down net/http does nothing with the
// connection and calls no hook before the handler (ConnState is told of the request in front of that
// look), and a handler that panics before it reads leaves the connection as it was. What is taken for
// dropped wrongly is carried out twice, and what is not, lost.
func isDropped() bool {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	var callers []string
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		callers = append(callers, f.Function)
	}
	first := slices.IndexFunc(callers, func(name string) bool { return strings.HasPrefix(name, "net/http.") })
	if first < 0 {
		return false
	}
	callers = callers[first:]
	const conn = "net/http.(*conn)."
	return callers[0] == "net/http.(*Server).closeIdleConns" ||
		len(callers) > 2 && slices.Equal(callers[:3], []string{conn + "close", conn + "serve.func1", conn + "serve"})
}
