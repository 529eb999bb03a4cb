package catalogue

import "github.com/esperanto-es/esperanto/translate"

// Highlighting.

func init() {
	translate.Register(
		&Change{
			ID: "HL-01", Name: "UnifiedBecameTheHighlighter", Since: V(6, 0),
			Doc: "Fields are highlighted by the unified highlighter unless a type is given; 5.x used the plain one.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "5.x takes the fast vector highlighter for fields with term vectors",
				Request: []Rule{at(translate.Highlight, defaultHighlighter("plain"))}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the unified highlighter of 5.x breaks fragments differently",
				Request: []Rule{at(translate.Highlight, defaultHighlighter("unified"))}},
		},
		&Change{
			ID: "HL-02", Name: "PostingsHighlighterWasRemoved", Since: V(6, 0),
			Doc:       "The postings highlighter is gone; the unified one took its place.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "fragments may differ", Request: each(postingsToUnified, translate.Highlight, translate.HighlightField)},
			NewClient: nothing,
		},
		&Change{
			ID: "HL-03", Name: "MaxAnalyzedOffsetAppeared", Since: V(7, 12),
			Doc:       "max_analyzed_offset limits how much of a text is highlighted.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "max_analyzed_offset: longer texts may be an error", Request: []Rule{
				drop(translate.Highlight, "max_analyzed_offset"), drop(translate.HighlightField, "max_analyzed_offset")}},
		},
	)
}

func defaultHighlighter(kind string) func(*Exchange, *Node) error {
	return func(_ *Exchange, n *Node) error {
		if !n.Has("type") && n.Has("fields") {
			n.SetString("type", kind)
		}
		return nil
	}
}

func postingsToUnified(_ *Exchange, n *Node) error {
	switch n.Get("type").String() {
	case "postings", "postings-highlighter":
		n.SetString("type", "unified")
	}
	return nil
}
