package catalogue

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// Ingest pipelines.

func init() {
	translate.Register(
		&Change{
			ID: "ING-01", Name: "ProcessorsGotConditions", Since: V(6, 5),
			Doc:       `A processor runs only if its condition holds ("if").`,
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "conditions of processors", Request: []Rule{at(translate.ProcessorBody, func(x *Exchange, n *Node) error {
				if n.Has("if") {
					return x.Refuse("a condition (if) on the processor [%s]", n.Name())
				}
				return nil
			})}},
		},
		&Change{
			ID: "ING-01", Name: "ProcessorsGotDescriptions", Since: V(7, 9),
			Doc:       `A processor can have a "description".`,
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{drop(translate.ProcessorBody, "description")}},
		},
		&Change{
			ID: "ING-01", Name: "PipelinesGotMetadata", Since: V(7, 15),
			Doc:       `A pipeline can have "_meta".`,
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "_meta of the pipeline", Request: []Rule{drop(translate.PipelineBody, "_meta", "deprecated")}},
		},
		&Change{
			ID: "ING-03", Name: "SimulatedDocumentsAreOfTypeDoc", Since: V(7, 0),
			Doc:       "Documents of a simulated pipeline are of the type _doc; up to 6.x they are of the type that they have, or of _type.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.SimulatedDoc, setType)}},
		},
		&Change{
			ID: "ING-03", Name: "SimulatedDocumentsLostTheirType", Since: V(8, 0),
			Doc: "Documents of a simulated pipeline have no _type.",
			OldClient: Direction{Fidelity: translate.Exact,
				Request:  []Rule{drop(translate.SimulateDoc, "_type")},
				Response: []Rule{at(translate.SimulatedDoc, setType)}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{drop(translate.SimulatedDoc, "_type")}},
		},
		&Change{
			ID: "ING-04", Name: "DateProcessorsTakeJavaTime", Since: V(7, 0),
			Doc: "The formats of the processors date and date_index_name are java.time's, no longer Joda-Time's.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "letters without a counterpart",
				Request:  []Rule{at(translate.ProcessorBody, processorFormats(javaDateFormat))},
				Response: []Rule{at(translate.ProcessorBody, processorFormats(jodaDateFormat))}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "letters without a counterpart",
				Request:  []Rule{at(translate.ProcessorBody, processorFormats(jodaDateFormat))},
				Response: []Rule{at(translate.ProcessorBody, processorFormats(javaDateFormat))}},
		},
		&Change{
			ID: "ING-05", Name: "UserAgentsAreECS", Since: V(8, 0),
			Doc: "The processor user_agent always writes the fields of the Elastic Common Schema; its option ecs is gone.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the older fields (ecs: false)", Request: []Rule{at(translate.ProcessorBody, func(_ *Exchange, n *Node) error {
				if n.Name() == "user_agent" {
					n.Drop("ecs")
				}
				return nil
			})}},
			NewClient: nothing,
		},
	)
}

// processorFormats changes the formats of the date processors.
func processorFormats(change func(string) string) func(*Exchange, *Node) error {
	return func(_ *Exchange, n *Node) error {
		list := map[string]string{"date": "formats", "date_index_name": "date_formats"}[n.Name()]
		if list == "" {
			return nil
		}
		if formats := n.Get(list); formats.IsArray() {
			var changed []string
			formats.ForEach(func(_, f gjson.Result) bool {
				switch s := f.String(); s {
				case "ISO8601", "UNIX", "UNIX_MS", "TAI64N":
					changed = append(changed, f.Raw)
				default:
					changed = append(changed, translate.Quote(change(s)))
				}
				return true
			})
			if s := "[" + strings.Join(changed, ",") + "]"; s != formats.Raw {
				n.Set(list, s)
			}
		}
		for _, key := range []string{"index_name_format", "output_format"} {
			if f := n.Get(key); f.Type == gjson.String {
				n.SetString(key, change(f.String()))
			}
		}
		return nil
	}
}
