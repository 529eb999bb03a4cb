package catalogue

import (
	"net/http"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// Errors of ingest pipelines, as seen on 5.6.16, 6.8.23 and 7.10.2.

func init() {
	translate.Register(
		&Change{
			ID: "ING-07", Name: "ErrorsOfProcessorsAreUnwrapped", Since: V(7, 5),
			Doc:       "A document that a pipeline fails for answers with the processor's own error and its status; it was wrapped in others, with the status 500 and the processor in a header.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the wrapping errors with the processor's type, and the status 500: the processor's own error is shown"},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{
				at(translate.AnswerHead, func(x *Exchange, _ *Node) error {
					if x.Status != http.StatusInternalServerError {
						return nil
					}
					if e, ok := processorError(gjson.GetBytes(x.AnswerBody(), "error")); ok {
						x.Status = statusOf(e)
					}
					return nil
				}),
				at(translate.WriteResult, func(_ *Exchange, n *Node) error {
					if e, ok := processorError(n.Get("error")); ok && n.Has("status") && n.Name() != "" {
						n.Set("status", itoa(statusOf(e)))
					}
					return nil
				}),
				at(translate.Error, func(_ *Exchange, n *Node) error {
					e, ok := processorError(n.Value())
					if !ok {
						return nil
					}
					var o object
					if n.Has("root_cause") {
						var root object
						root.addAll(e)
						root.drop("caused_by")
						o.set("root_cause", "["+root.String()+"]")
					}
					o.addAll(e)
					n.Replace(o.String())
					return nil
				}),
			}},
		},
	)
}

// processorError returns the error that a processor gave, if e is one that wraps
// it.
func processorError(e gjson.Result) (gjson.Result, bool) {
	inner := e.Get("caused_by").Get("caused_by")
	return inner, e.Get("type").String() == "exception" && e.Get("header").Get("processor_type").Exists() && inner.Exists()
}

// statusOf is the status that 7.5 and later give to an error of a processor.
func statusOf(e gjson.Result) int {
	switch e.Get("type").String() {
	case "illegal_argument_exception", "script_exception", "parse_exception", "mapper_parsing_exception":
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}
