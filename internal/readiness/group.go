package readiness

import (
	"strings"

	"github.com/esperanto-es/esperanto/translate"
)

// A Group says who has to do something about a change.
type Group string

const (
	// Application: the application's own requests have to be written otherwise.
	Application Group = "application"
	// Library: the client library writes requests so; its version for the new
	// cluster does not.
	Library Group = "library"
	// Answers: the requests stay as they are, but answers look different. Only
	// the application's code can tell whether it reads those parts.
	Answers Group = "answers"
	// nobody: it is the gateway's own doing, and goes away with it.
	nobody Group = ""
)

// exceptions are the changes of requests that the application's developer does
// not write, by name. All others that had something to do in a request are the
// application's.
var exceptions = map[string]Group{
	// What official libraries make of a call by themselves: paths, types and
	// underscores around documents, media types, ids of scrolls.
	"MediaTypesAreThoseOfTheCluster":   Library,
	"ContentTypeBecameStrict":          Library,
	"TypesWereHiddenBehindDoc":         Library,
	"TypedPathsWereRemoved":            Library,
	"PutMappingLostItsType":            Library,
	"TypedPutMappingWasRemoved":        Library,
	"TypedGetMappingWasRemoved":        Library,
	"BulkMetadataLostItsUnderscores":   Library,
	"BulkItemsLostTheirType":           Library,
	"BulkTypeIsRefused":                Library,
	"MgetItemsLostUnderscoresAndType":  Library,
	"MgetTypeIsRefused":                Library,
	"MsearchLostItsTypes":              Library,
	"ItemsOfMtermvectorsLostTheirType": Library,
	"UnknownMsearchKeysBecameErrors":   Library,
	"EmptyFirstLineBecameAHeader":      Library,
	"ScrollIDsAsTextWereRemoved":       Library,
	"ScrollIDsInPathsWereDeprecated":   Library,
	"FieldsOfFieldCapsMovedToTheURL":   Library,
	"XPackPrefixWasRemoved":            Library,

	// The request is good as it is: it is only changed so that the answer comes
	// as before. These meet nearly every search.
	"TotalHitsAreCountedUpTo10000":              Answers,
	"MaxScoreBecameNull":                        Answers,
	"UnifiedBecameTheHighlighter":               Answers,
	"AllAsDefaultFieldWasRemoved":               Answers,
	"DocvalueDatesBecameText":                   Answers,
	"DocvalueFieldsUseTheMappingsFormat":        Answers,
	"RangesOfAddressesGotKeys":                  Answers,
	"FilteredSourcesOfNestedHitsBecameRelative": Answers,
	"TerminatedEarlyIsLeftOutWhenFalse":         Answers,
	"TerminatedEarlyIsBackWhenFalse":            Answers,
	"SimulatedDocumentsLostTheirType":           Answers,
	"OneShardBecameTheDefault":                  Answers,
	"OpenWaitsForShards":                        Answers,
	"SlicesByUidWereRemoved":                    Answers,

	// Whatever is rendered from a template is met by the changes of searches.
	"SearchesInTemplatesChangedIn6": nobody,
	"SearchesInTemplatesChangedIn7": nobody,
	"SearchesInTemplatesChangedIn8": nobody,
}

// headers are what every answer has or lacks: no application looks at it, and
// libraries take either.
var headers = map[string]bool{
	"MediaTypesAreThoseOfTheCluster": true, "ProductHeaderAppeared": true, "AnswersLostTheirCharset": true, "LocationLostItsType": true,
}

// groupOf says who has to do something about a change that had something to do
// in a request, or only in an answer.
func groupOf(c *translate.Change, request bool) Group {
	g, known := exceptions[c.Name]
	switch {
	case !request && headers[c.Name]:
		return nobody
	case known && request && g == Library:
		return Library
	case c.ID == "HTTP-12":
		return Application // has no version, but is written by applications
	case c.Since.IsZero():
		return nobody
	case !request, strings.HasPrefix(c.ID, "CAT-"):
		return Answers
	case known:
		return g
	}
	return Application
}
