package readiness

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

const (
	masked   = "…"
	maxBody  = 2 << 10 // of a body that is shown, in bytes
	maxNode  = 1 << 10 // of a node that is shown
	maxPath  = 300     // of a request line that is shown
	maxName  = 100     // of a key or name that is shown
	maxItems = 3       // of an array that are shown
	maxLines = 4       // of a body of lines that are shown
	maxDepth = 40      // that is shown
)

// maskTarget writes a request's method, path and parameters without ids and
// values. Names of indices and types stay, as they say where to look; of a path
// that is not known only what begins with an underscore does.
func maskTarget(e esapi.Endpoint, method, path string, params esapi.Params) string {
	var b strings.Builder
	b.WriteString(method + " ")
	for segment := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		name := unescape(segment)
		b.WriteByte('/')
		switch {
		case e.API != "" && !hidden(e, name), e.API == "" && strings.HasPrefix(name, "_"):
			b.WriteString(clip(segment))
		case name != "":
			b.WriteString("{" + masked + "}")
		}
	}
	for i, key := range params.Keys() {
		b.WriteByte("?&"[min(i, 1)])
		b.WriteString(clip(key))
		if v := params.Get(key); v != "" {
			b.WriteString("=" + maskText(v))
		}
	}
	if s := b.String(); len(s) > maxPath {
		return strings.ToValidUTF8(s[:maxPath], "") + masked
	}
	return b.String()
}

// hidden reports whether a part of a known path is a value.
func hidden(e esapi.Endpoint, name string) bool {
	if name == e.Index || name == e.Type {
		return false
	}
	for _, part := range []string{e.ID, e.Name, e.NodeID, e.ScrollID, e.TaskID, e.Target, e.Snapshot, e.Alias, e.Item} {
		if part != "" && part == name {
			return true
		}
	}
	return false
}

// unescape reads a part of a path as Elasticsearch does, which takes + for a
// space.
func unescape(segment string) string {
	if s, err := url.QueryUnescape(segment); err == nil {
		return s
	}
	return segment
}

// quoted is what stands in quotes in the reason of a refusal: it may be a value.
var quoted = regexp.MustCompile(`"(\\.|[^"\\])*"`)

func maskReason(reason string) string { return quoted.ReplaceAllString(reason, `"`+masked+`"`) }

func clip(s string) string {
	if len(s) > maxName {
		return strings.ToValidUTF8(s[:maxName], "") + masked
	}
	return s
}

// maskText is a value as it is shown: words of Elasticsearch's own language stay,
// a number becomes 0 or -1, as its sign may matter, and the rest is hidden.
func maskText(s string) string {
	switch v := gjson.Parse(s); {
	case words[s]:
		return s
	case v.Type == gjson.Number && gjson.Valid(s):
		return maskNumber(v)
	}
	return masked
}

func maskNumber(v gjson.Result) string {
	if v.Num < 0 {
		return "-1"
	}
	return "0"
}

// maskBody shows a request's body: keys and structure without values.
func maskBody(api string, body []byte) string {
	if len(body) == 0 {
		return ""
	}
	switch api {
	case "index", "create":
		return `{"` + masked + `":"` + masked + `"}`
	case "bulk", "msearch", "msearch_template", "mpercolate", "monitoring.bulk":
		return maskLines(api, string(body))
	}
	if !esapi.ValidJSON(body) {
		return masked
	}
	return maskJSON(body, maxBody)
}

// maskLines shows the first lines of a body of lines; a line with a document
// becomes one without anything.
func maskLines(api, body string) string {
	var b strings.Builder
	document := false
	n := 0
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if n++; n > maxLines {
			b.WriteString(masked)
			break
		}
		switch {
		case document:
			b.WriteString(`{"` + masked + `":"` + masked + `"}`)
			document = false
		case !esapi.ValidJSON([]byte(line)):
			b.WriteString(masked)
		default:
			b.WriteString(maskJSON([]byte(line), maxNode))
			if action := gjson.Parse(line); api == "bulk" {
				document = action.Get("index").IsObject() || action.Get("create").IsObject()
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// maskJSON shows JSON without values. It stays JSON however much is left out.
func maskJSON(raw []byte, limit int) string {
	m := masker{limit: limit}
	m.value(gjson.ParseBytes(raw), 0)
	return m.b.String()
}

type masker struct {
	b     strings.Builder
	limit int
}

func (m *masker) full() bool { return m.b.Len() > m.limit }

// opaque are the members that hold documents and parameters of scripts: not even
// their keys are Elasticsearch's.
var opaque = map[string]bool{"doc": true, "upsert": true, "document": true, "documents": true, "params": true}

func (m *masker) value(v gjson.Result, depth int) {
	switch {
	case m.full() || depth > maxDepth:
		m.b.WriteString(`"` + masked + `"`)
	case v.IsObject():
		m.b.WriteByte('{')
		first := true
		v.ForEach(func(key, value gjson.Result) bool {
			if key.Str == "_meta" && value.Get("esperanto").Exists() {
				return true // the gateway's own note in a mapping
			}
			if !first {
				m.b.WriteByte(',')
			}
			first = false
			if m.full() {
				m.b.WriteString(`"` + masked + `":"` + masked + `"`)
				return false
			}
			m.b.WriteString(translate.Quote(clip(key.String())) + ":")
			if opaque[key.String()] && (value.IsObject() || value.IsArray()) {
				m.b.WriteString(`{"` + masked + `":"` + masked + `"}`)
			} else {
				m.value(value, depth+1)
			}
			return true
		})
		m.b.WriteByte('}')
	case v.IsArray():
		m.b.WriteByte('[')
		n := 0
		v.ForEach(func(_, value gjson.Result) bool {
			if n > 0 {
				m.b.WriteByte(',')
			}
			if n++; n > maxItems || m.full() {
				m.b.WriteString(`"` + masked + `"`)
				return false
			}
			m.value(value, depth+1)
			return true
		})
		m.b.WriteByte(']')
	case v.Type == gjson.String && words[v.Str]:
		m.b.WriteString(translate.Quote(v.Str))
	case v.Type == gjson.String:
		m.b.WriteString(`"` + masked + `"`)
	case v.Type == gjson.Number:
		m.b.WriteString(maskNumber(v))
	case v.Type == gjson.True, v.Type == gjson.False, v.Type == gjson.Null && v.Raw != "":
		m.b.WriteString(v.Raw)
	default:
		m.b.WriteString("null")
	}
}

// words are values of Elasticsearch's own language. They are shown, as a change
// may be about them; a user's text that happens to be one of them tells nothing.
var words = setOf(`
	true false on off yes no asc desc and or AND OR all any none auto unlimited wait_for
	string text keyword long integer short byte double float half_float scaled_float date date_nanos boolean binary ip object nested
	geo_point geo_shape point shape completion token_count murmur3 percolator join alias flattened wildcard constant_keyword range
	integer_range float_range long_range double_range date_range ip_range search_as_you_type dense_vector sparse_vector rank_feature
	rank_features histogram version unsigned_long match_only_text attachment annotated_text
	analyzed not_analyzed docs freqs positions offsets with_positions with_positions_offsets with_offsets doc_values fielddata disabled
	classic BM25 default boolean_similarity strict runtime dynamic standard simple whitespace stop pattern snowball english
	nGram edgeNGram ngram edge_ngram htmlStrip html_strip PathHierarchy path_hierarchy lowercase asciifolding delimited_payload_filter
	delimited_payload standard_html_strip synonym synonym_graph shingle stemmer word_delimiter word_delimiter_graph custom
	phrase phrase_prefix best_fields most_fields cross_fields bool_prefix bool field
	multi avg sum min max first total average replace multiply median count
	constant_score constant_score_auto constant_score_filter constant_score_boolean scoring_boolean top_terms_n fuzzy fuzzy_n
	plain fvh postings unified fast sentence word chars score
	sloppy_arc arc plane factor indexed memory coerce strict ignore_malformed IGNORE_MALFORMED COERCE STRICT
	levenshtein levenstein damerau_levenshtein jaro_winkler jarowinkler internal popular missing always
	_term _key _count _time _score _doc _id _uid _type _index _source _all _geo_distance _shard_doc _field_names _parent _routing _none_
	global_ordinals global_ordinals_hash global_ordinals_low_cardinality map depth_first breadth_first
	year quarter month week day hour minute second 1y 1q 1M 1w 1d 1h 1m 1s
	_primary _primary_first _replica _replica_first _local
	query_then_fetch dfs_query_then_fetch query_and_fetch dfs_query_and_fetch scan count
	painless groovy expression mustache javascript python native lucene
	external external_gt external_gte force create index
	dateOptionalTime date_optional_time strict_date_optional_time epoch_millis epoch_second use_field_mapping basicDate basic_date
	dateTime date_time dateTimeNoMillis date_time_no_millis dateHourMinuteSecond date_hour_minute_second strictDateOptionalTime
	AUTO from to lt lte gt gte within contains intersects disjoint INTERSECTS DISJOINT WITHIN CONTAINS
	json yaml cbor smile open closed hidden
	before_query_match none_query zero_terms greater_equal
`)

func setOf(text string) map[string]bool {
	set := map[string]bool{}
	for _, word := range strings.Fields(text) {
		set[word] = true
	}
	return set
}
