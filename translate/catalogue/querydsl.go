package catalogue

import (
	"math"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// The query language: clauses and options that came, went or changed their
// names.

func init() {
	translate.Register(
		&Change{
			ID: "QRY-01", Name: "SynonymsOfClausesWereRemoved", Since: V(6, 0),
			Doc:       "The second names of queries are gone: in (terms), mlt (more_like_this), fuzzy_match and match_fuzzy (match), geo_bbox (geo_bounding_box).",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{keyed(at(translate.Query, renameSynonyms), "in", "mlt", "fuzzy_match", "match_fuzzy", "geo_bbox")}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-01", Name: "IndicesQueryWasRemoved", Since: V(6, 0),
			Doc:       "The indices query is gone; a bool query with a terms query on _index says the same.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{keyed(at(translate.Query, replaceClause("indices", indicesAsBool)), "indices")}},
			NewClient: nothing,
		},
		&Change{
			// 5.6.16 itself refuses geo_distance_range on the geo points of indices
			// that 5.x made.
			ID: "QRY-01", Name: "TemplateAndGeoQueriesWereRemoved", Since: V(6, 0),
			Doc: "The queries template, geohash_cell and geo_distance_range are gone.",
			OldClient: Direction{Fidelity: translate.Refused, Loses: "the queries template, geohash_cell and geo_distance_range have no counterpart",
				Request: []Rule{refuseClauses("template", "geohash_cell", "geo_distance_range")}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-02", Name: "MatchLostItsType", Since: V(6, 0),
			Doc:       `A match query with "type": "phrase" or "phrase_prefix" is written as match_phrase or match_phrase_prefix.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{keyed(at(translate.Query, matchTypeToClause), "match")}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-03", Name: "PhraseSlopWasRemoved", Since: V(6, 0),
			Doc: "phrase_slop, a second name of slop, is gone from the match queries; query_string keeps it.",
			OldClient: Direction{Fidelity: translate.Exact, Request: append(
				each(func(_ *Exchange, n *Node) error {
					n.Rename("phrase_slop", "slop")
					return nil
				}, translate.ClauseField("match_phrase"), translate.ClauseField("match_phrase_prefix")),
				rename(translate.Clause("multi_match"), "phrase_slop", "slop"))},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-04", Name: "MinimumNumberShouldMatchWasRemoved", Since: V(6, 0),
			Doc:       "minimum_number_should_match, a second name of minimum_should_match, is gone.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{rename(translate.Clause("bool"), "minimum_number_should_match", "minimum_should_match")}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-05", Name: "DisableCoordWasRemoved", Since: V(7, 0),
			Doc: "disable_coord is gone from bool and common queries; 6.x ignored it.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "scores under the similarity classic of 5.x",
				Request: []Rule{drop(translate.Clause("bool"), "disable_coord"), drop(translate.ClauseField("common"), "disable_coord")}},
			NewClient: nothing,
		},
		&Change{
			// 5.6 and 6.8 do so below filter, must_not, constant_score and in the
			// filters of aggregations and aliases, but not in a post_filter.
			ID: "QRY-06", Name: "ShouldInAFilterBecameOptional", Since: V(7, 0),
			Doc: "In a filter, a bool query with must or filter and should needed one of should to match; now should is without effect there unless minimum_should_match is given.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{keyed(at(translate.Clause("bool"), func(_ *Exchange, n *Node) error {
				if isOptionalShould(n) {
					n.Set("minimum_should_match", "1")
				}
				return nil
			}), "should")}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Clause("bool"), func(_ *Exchange, n *Node) error {
				if isOptionalShould(n) {
					n.Drop("should")
				}
				return nil
			})}},
		},
		&Change{
			ID: "QRY-08", Name: "QueryStringOptionsWereRemoved", Since: V(6, 0),
			Doc: "query_string lost use_dis_max, split_on_whitespace, auto_generate_phrase_queries, all_fields, locale and lowercase_expanded_terms; 6.x ignores them.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "how the text was split and lowercased; phrases made of adjoining words become type phrase",
				Request: []Rule{at(translate.Clause("query_string"), dropQueryStringOptions)}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "type, fuzzy_transpositions and synonyms in phrases", Request: []Rule{
				drop(translate.Clause("query_string"), "type", "fuzzy_transpositions", "auto_generate_synonyms_phrase_query"),
			}},
		},
		&Change{
			ID: "QRY-08", Name: "QueryStringOptionsBecameErrors", Since: V(7, 0),
			Doc: "The options of query_string that 6.x ignored are refused.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{drop(translate.Clause("query_string"),
				"use_dis_max", "split_on_whitespace", "auto_generate_phrase_queries", "all_fields", "locale", "lowercase_expanded_terms")}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-09", Name: "MaxDeterminedStatesWasRemoved", Since: V(6, 0),
			Doc: "max_determined_states, a misspelt name of max_determinized_states, is gone.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				rename(translate.Clause("query_string"), "max_determined_states", "max_determinized_states"),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-12", Name: "RangeSynonymsWereRemoved", Since: V(6, 0),
			Doc: "In range queries le and ge are written lte and gte, and fielddata is gone.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.ClauseField("range"), func(_ *Exchange, n *Node) error {
				n.Rename("le", "lte")
				n.Rename("ge", "gte")
				return nil
			}), at(translate.Clause("range"), func(_ *Exchange, n *Node) error {
				n.Drop("fielddata")
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-13", Name: "NumbersInDateRangesBecameMillis", Since: V(8, 0),
			Doc: "A bare number in a range on a date field is milliseconds since 1970; it was read by the field's format, such as the year 2015.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.ClauseField("range"), func(x *Exchange, n *Node) error {
				if date, err := isDate(x, n.Name()); !date {
					return err
				}
				for _, key := range []string{"gt", "gte", "lt", "lte", "from", "to"} {
					if v := n.Get(key); v.Type == gjson.Number {
						n.SetString(key, v.Raw)
					}
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-14", Name: "DateFormatsOfSearchesBecameJavaTime", Since: V(7, 0),
			Doc:       "The formats of dates in range queries and aggregations are written in java.time's letters, no longer in Joda-Time's.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "letters without a counterpart, such as C for the century", Request: searchFormats(javaDateFormat)},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "letters without a counterpart, and optional parts in brackets", Request: searchFormats(jodaDateFormat)},
		},
		&Change{
			ID: "QRY-14", Name: "CamelCaseFormatsOfSearchesWereRemoved", Since: V(8, 0),
			Doc:       "Date formats with a name have it in snake_case: date_optional_time, not dateOptionalTime.",
			OldClient: Direction{Fidelity: translate.Exact, Request: searchFormats(snakeDateFormat)},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-15", Name: "TermsLookupNeedsAnIndex", Since: V(6, 0),
			Doc: "A terms lookup names the index of the document; 5.x took the one that is searched.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.ClauseField("terms"), func(x *Exchange, n *Node) error {
				if n.IsObject() && n.Has("id") && !n.Has("index") && isOneIndex(x.Endpoint.Index) {
					n.SetString("index", x.Endpoint.Index)
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-16", Name: "PercolateLostItsDocumentType", Since: V(6, 0),
			Doc:       "A percolate query takes no document_type, and takes several documents.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{drop(translate.Clause("percolate"), "document_type")}},
			NewClient: Direction{Fidelity: translate.Exact, Loses: "several documents in one percolate query, which are refused", Request: []Rule{
				at(translate.Clause("percolate"), percolateOneDocument),
			}},
		},
		&Change{
			ID: "QRY-16", Name: "PercolatedQueriesNameTheDocument", Since: V(6, 0),
			Doc: `A query that a percolate query finds says in the field _percolator_document_slot which of the documents it matches.`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Hit, func(_ *Exchange, n *Node) error {
				if fields := n.Get("fields"); member(fields, percolatorSlot).Exists() {
					edit(n, "fields", func(f *Node) { f.Drop(percolatorSlot) })
					if len(n.Get("fields").Map()) == 0 {
						n.Drop("fields")
					}
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Clause("percolate"), func(x *Exchange, n *Node) error {
				if n.Name() == "percolate" {
					x.Note(percolatorSlot, true)
				}
				return nil
			})}, Response: []Rule{at(translate.Hit, func(x *Exchange, n *Node) error {
				if x.Noted(percolatorSlot) == nil {
					return nil
				}
				var fields object
				fields.addAll(n.Get("fields"))
				fields.set(percolatorSlot, "[0]")
				n.Set("fields", fields.String())
				return nil
			})}},
		},
		&Change{
			ID: "QRY-18", Name: "MoreLikeThisSynonymsWereRemoved", Since: V(6, 0),
			Doc: "more_like_this takes like, min_word_length, max_word_length and minimum_should_match; the older names are gone.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Clause("more_like_this"), func(_ *Exchange, n *Node) error {
				moreLikeThisNames(n)
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-19", Name: "GeoOptionsWereRenamed", Since: V(6, 0),
			Doc: "ignore_malformed and coerce of geo queries are one validation_method; optimize_bbox, sloppy_arc and the like are gone.",
			OldClient: Direction{Fidelity: translate.Exact, Request: each(geoOptions,
				translate.Clause("geo_distance"), translate.Clause("geo_bounding_box"), translate.Clause("geo_polygon"))},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-19", Name: "GeoBoundingBoxLostItsType", Since: V(8, 0),
			Doc:       `The option "type": "memory" or "indexed" of geo_bounding_box is gone.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{drop(translate.Clause("geo_bounding_box"), "type")}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-21", Name: "ScoreTypeWasRemoved", Since: V(6, 0),
			Doc: "score_type of has_child is score_mode; score_mode of has_parent is the boolean score.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				rename(translate.Clause("has_child"), "score_type", "score_mode"),
				at(translate.Clause("has_parent"), func(_ *Exchange, n *Node) error {
					for _, key := range []string{"score_type", "score_mode"} {
						if v := n.Get(key); v.Exists() {
							n.Rename(key, "score")
							n.Set("score", jsonBool(v.String() == "score"))
						}
					}
					return nil
				}),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-21", Name: "MinChildrenMustBeOne", Since: V(8, 0),
			Doc: "min_children of has_child must be at least 1; 0 meant the same.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Clause("has_child"), func(_ *Exchange, n *Node) error {
				if n.Get("min_children").Raw == "0" {
					n.Drop("min_children")
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-24", Name: "NegativeScoresBecameErrors", Since: V(7, 0),
			Doc:       "function_score and script_score must not give negative scores.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "searches whose functions give negative scores: the cluster's error is shown"},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-25", Name: "NegativeBoostBecameAnError", Since: V(7, 0),
			Doc:       "A boost must not be negative.",
			OldClient: Direction{Fidelity: translate.Refused, Loses: "negative boosts: the cluster's error is shown"},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-26", Name: "AutoFuzzinessTakesLengths", Since: V(6, 1),
			Doc:       "fuzziness takes AUTO:low,high.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the lengths in AUTO:low,high", Request: append(
				each(plainAuto, translate.ClauseField("match"), translate.ClauseField("fuzzy"), translate.ClauseField("match_bool_prefix")),
				each(plainAuto, translate.Clause("multi_match"), translate.Clause("query_string"))...)},
		},
		&Change{
			ID: "QRY-27", Name: "CutoffFrequencyWasRemoved", Since: V(8, 0),
			Doc: "cutoff_frequency is gone: blocks of hits that cannot compete are skipped without it.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "scores and hits differ a little", Request: []Rule{
				drop(translate.ClauseField("match"), "cutoff_frequency"), drop(translate.Clause("multi_match"), "cutoff_frequency"),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-27", Name: "CommonQueryWasRemoved", Since: V(8, 0),
			Doc: "The common query is gone; match does the same faster.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the different treatment of frequent words",
				Request: []Rule{keyed(at(translate.Query, replaceClause("common", commonAsMatch)), "common")}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-28", Name: "UseDisMaxWasRemoved", Since: V(7, 0),
			Doc: "use_dis_max of multi_match is gone; type says the same.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Clause("multi_match"), func(_ *Exchange, n *Node) error {
				if v := n.Get("use_dis_max"); v.Exists() {
					n.Drop("use_dis_max")
					if !isTrue(v) && !n.Has("type") && !n.Has("tie_breaker") {
						n.Set("tie_breaker", "1.0") // as 5.x and 6.x read it
					}
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-29", Name: "CaseInsensitiveAppeared", Since: V(7, 10),
			Doc:       "term, prefix, wildcard and regexp take case_insensitive.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "case_insensitive: without it documents would be missing", Request: each(
				func(x *Exchange, n *Node) error {
					if v := n.Get("case_insensitive"); v.Exists() {
						if isTrue(v) {
							return x.Refuse("case_insensitive on the field %s", n.Name())
						}
						n.Drop("case_insensitive")
					}
					return nil
				}, translate.ClauseField("term"), translate.ClauseField("prefix"), translate.ClauseField("wildcard"), translate.ClauseField("regexp"))},
		},
		&Change{
			ID: "QRY-30", Name: "PrefixKeyOfPrefixWasRemoved", Since: V(6, 0),
			Doc:       `The text of a prefix query stands under "value"; "prefix" was a second name.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{rename(translate.ClauseField("prefix"), "prefix", "value")}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-31", Name: "ConstantScoreLostQuery", Since: V(6, 0),
			Doc:       `constant_score wraps a "filter"; "query" was a second name.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{rename(translate.Clause("constant_score"), "query", "filter")}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-33", Name: "CollectPayloadsWasRemoved", Since: V(6, 0),
			Doc:       "collect_payloads of span_near, which did nothing, is gone.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{drop(translate.Clause("span_near"), "collect_payloads")}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-34", Name: "RewriteNamesWereRemoved", Since: V(6, 0),
			Doc: "The rewrite methods constant_score_auto and constant_score_filter are written constant_score.",
			OldClient: Direction{Fidelity: translate.Exact, Request: append(
				each(plainRewrite, translate.ClauseField("prefix"), translate.ClauseField("wildcard"), translate.ClauseField("regexp"), translate.ClauseField("fuzzy")),
				at(translate.Clause("query_string"), plainRewrite))},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-35", Name: "SimpleQueryStringOptionsWereRemoved", Since: V(6, 0),
			Doc: "simple_query_string lost all_fields, locale and lowercase_expanded_terms.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "how the text was lowercased", Request: []Rule{at(translate.Clause("simple_query_string"), func(_ *Exchange, n *Node) error {
				allFields(n)
				n.Drop("locale")
				n.Drop("lowercase_expanded_terms")
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the fuzzy options and synonyms in phrases", Request: []Rule{
				drop(translate.Clause("simple_query_string"), "fuzzy_prefix_length", "fuzzy_max_expansions", "fuzzy_transpositions", "auto_generate_synonyms_phrase_query"),
			}},
		},
		&Change{
			ID: "QRY-36", Name: "FieldNamesCannotBeQueried", Since: V(8, 0),
			Doc:       "A term query on _field_names is written as an exists query.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{keyed(at(translate.Query, fieldNamesToExists), "term")}},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-49", Name: "SynonymsInPhrasesAppeared", Since: V(6, 1),
			Doc:       "match and multi_match take auto_generate_synonyms_phrase_query.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "how synonyms of several words are searched", Request: []Rule{
				drop(translate.ClauseField("match"), "auto_generate_synonyms_phrase_query"),
				drop(translate.Clause("multi_match"), "auto_generate_synonyms_phrase_query"),
			}},
		},
		&Change{
			ID: "QRY-49", Name: "ZeroTermsQueryOfPhrasesAppeared", Since: V(6, 0),
			Doc:       "match_phrase takes zero_terms_query.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "zero_terms_query of phrases", Request: []Rule{
				drop(translate.ClauseField("match_phrase"), "zero_terms_query"), drop(translate.ClauseField("match_phrase_prefix"), "zero_terms_query"),
			}},
		},
		&Change{
			ID: "QRY-50", Name: "SpanFieldMaskingGotItsName", Since: V(7, 16),
			Doc:       "field_masking_span is also called span_field_masking.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{rename(translate.Query, "span_field_masking", "field_masking_span")}},
		},
	)
	translate.Register(
		&Change{
			ID: "QRY-36", Name: "MetadataFieldsExist", Since: V(6, 1),
			Doc:       "An exists query on a field of metadata that all documents have, such as _id, matches all of them; 5.x and 6.0 have none.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{keyed(at(translate.Query, replaceClause("exists", existsAsMatchAll)), "exists")}},
		},
		&Change{
			ID: "RESP-01", Name: "IgnoredCanBeQueried", Since: V(6, 4),
			Doc:       "The field _ignored names the fields of a document whose values were malformed.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "queries on _ignored", Request: []Rule{
				at(translate.Query, func(x *Exchange, n *Node) error {
					asked := n.Get("exists").Get("field").String() == "_ignored"
					for _, clause := range []string{"term", "terms", "match", "prefix", "wildcard"} {
						asked = asked || n.Get(clause).Get("_ignored").Exists()
					}
					if asked {
						return x.Refuse("a query on the field _ignored")
					}
					return nil
				})}},
		},
	)
	for _, c := range clausesByVersion {
		change := &Change{
			ID: "QRY-50", Name: c.name, Since: c.since,
			Doc:       "New queries: " + strings.Join(c.clauses, ", ") + ".",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "the queries " + strings.Join(c.clauses, ", "), Request: []Rule{refuseClauses(c.clauses...)}},
		}
		translate.Register(change)
	}
	translate.Register(
		&Change{
			ID: "QRY-51", Name: "RandomScoreGotAField", Since: V(6, 1),
			Doc:       "random_score with a seed takes the field that it is made from.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "other random numbers", Request: each(func(_ *Exchange, n *Node) error {
				edit(n, "random_score", func(r *Node) { r.Drop("field") })
				return nil
			}, translate.ScoreFunction, translate.Clause("function_score"))},
		},
		&Change{
			ID: "QRY-51", Name: "RandomScoreNeedsAField", Since: V(8, 0),
			Doc: "random_score with a seed is made from _id unless a field is given, and _id cannot be used so any more; _seq_no can.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "other random numbers, which change with the document", Request: each(func(_ *Exchange, n *Node) error {
				edit(n, "random_score", func(r *Node) {
					if r.Has("seed") && !r.Has("field") {
						r.SetString("field", "_seq_no")
					}
				})
				return nil
			}, translate.ScoreFunction, translate.Clause("function_score"))},
			NewClient: nothing,
		},
		&Change{
			ID: "QRY-50", Name: "ScriptScoreQueryAppeared", Since: V(7, 0),
			Doc:       "The query script_score is new; a function_score query whose script replaces the score says the same.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{keyed(at(translate.Query, replaceClause("script_score", scriptScoreAsFunctionScore)), "script_score")}},
		},
		&Change{
			ID: "QRY-50", Name: "CombinedFieldsAppeared", Since: V(7, 13),
			Doc:       "The query combined_fields is new; a multi_match of type cross_fields is the nearest that older clusters have.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "scores", Request: []Rule{at(translate.Query, replaceClause("combined_fields", func(_ *Exchange, n *Node) (string, error) {
				n.SetString("type", "cross_fields")
				return `{"multi_match":` + n.Raw() + `}`, nil
			}))}},
		},
	)
}

// clausesByVersion are the queries that older clusters have no form of.
var clausesByVersion = []struct {
	name    string
	since   Version
	clauses []string
}{
	{"TermsSetAppeared", V(6, 1), []string{"terms_set"}},
	{"IntervalsAppeared", V(7, 0), []string{"intervals", "distance_feature", "rank_feature"}},
	{"PinnedAndShapeAppeared", V(7, 4), []string{"pinned", "shape"}},
	{"KnnQueriesAppeared", V(8, 0), []string{"knn", "rule", "semantic", "sparse_vector", "text_expansion", "weighted_tokens", "geo_grid"}},
}

// refuseClauses refuses queries by their names.
func refuseClauses(names ...string) Rule {
	return keyed(at(translate.Query, func(x *Exchange, n *Node) error {
		for _, name := range names {
			if n.Has(name) {
				return x.Refuse("the query %s", name)
			}
		}
		return nil
	}), names...)
}

// replaceClause puts another query in the place of a clause; do is given what
// stands under the clause's name.
func replaceClause(name string, do func(x *Exchange, body *Node) (string, error)) func(*Exchange, *Node) error {
	return func(x *Exchange, n *Node) error {
		v := n.Get(name)
		if !v.IsObject() {
			return nil
		}
		raw, err := do(x, translate.NewNode(v.Raw))
		if err == nil && raw != "" {
			n.Replace(raw)
		}
		return err
	}
}

var synonymsOfClauses = [][2]string{
	{"in", "terms"}, {"mlt", "more_like_this"}, {"fuzzy_match", "match"}, {"match_fuzzy", "match"}, {"geo_bbox", "geo_bounding_box"},
}

func renameSynonyms(_ *Exchange, n *Node) error {
	for _, s := range synonymsOfClauses {
		n.Rename(s[0], s[1])
	}
	return nil
}

// indicesAsBool writes the query indices as a bool query.
func indicesAsBool(_ *Exchange, n *Node) (string, error) {
	if !n.Has("query") {
		return "", nil // the cluster says what is wrong
	}
	indices := n.Get("indices").Raw
	if indices == "" {
		indices = "[" + n.Get("index").Raw + "]"
	}
	on := `{"terms":{"_index":` + indices + `}}`
	should := `{"bool":{"must":` + n.Get("query").Raw + `,"filter":` + on + `}}`
	switch other := n.Get("no_match_query"); {
	case other.IsObject():
		should += `,{"bool":{"must":` + other.Raw + `,"must_not":` + on + `}}`
	case other.String() == "none":
	default: // "all" or nothing
		should += `,{"bool":{"must_not":` + on + `}}`
	}
	body := `"should":[` + should + `],"minimum_should_match":1`
	return `{"bool":{` + body + common(n) + `}}`, nil
}

// common gives the members that every query may have, to be written behind
// others.
func common(n *Node) string {
	var b strings.Builder
	for _, key := range []string{"boost", "_name"} {
		if v := n.Get(key); v.Exists() {
			b.WriteString(`,"` + key + `":` + v.Raw)
		}
	}
	return b.String()
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// matchTypeToClause makes {"match": {f: {"type": "phrase"}}} a match_phrase.
func matchTypeToClause(_ *Exchange, n *Node) error {
	if match := n.Get("match"); !match.IsObject() || strings.IndexByte(match.Raw[1:], '{') < 0 {
		return nil // a text for each field
	}
	clause := "match"
	edit(n, "match", func(match *Node) {
		for _, field := range match.Keys() {
			edit(match, field, func(spec *Node) {
				kind := spec.Get("type").String()
				switch kind {
				case "phrase", "phrase_prefix", "phrasePrefix":
					clause = "match_phrase"
					if kind != "phrase" {
						clause = "match_phrase_prefix"
					}
					for _, gone := range []string{"operator", "fuzziness", "minimum_should_match", "lenient", "cutoff_frequency", "prefix_length", "max_expansions", "zero_terms_query", "fuzzy_rewrite", "fuzzy_transpositions"} {
						if gone != "max_expansions" || kind == "phrase" {
							spec.Drop(gone)
						}
					}
					spec.Rename("phrase_slop", "slop")
				case "":
					spec.Drop("slop") // read and without effect there in 5.x
					spec.Drop("phrase_slop")
				}
				spec.Drop("type")
			})
		}
	})
	if clause != "match" {
		n.Rename("match", clause)
	}
	return nil
}

// isOptionalShould reports whether a bool query in a filter has should clauses
// that 7.x and later do not ask to match.
func isOptionalShould(n *Node) bool {
	return n.InFilter() && n.Has("should") && (n.Has("must") || n.Has("filter")) &&
		!n.Has("minimum_should_match") && !n.Has("minimum_number_should_match") && !isEmptyList(n.Get("should")) &&
		!(isEmptyList(n.Get("must")) && isEmptyList(n.Get("filter")))
}

func isEmptyList(v gjson.Result) bool { return !v.Exists() || (v.IsArray() && v.Get("#").Int() == 0) }

// dropQueryStringOptions replaces what 6.x ignores by the nearest it has.
func dropQueryStringOptions(_ *Exchange, n *Node) error {
	allFields(n)
	if v := n.Get("auto_generate_phrase_queries"); v.Exists() {
		n.Drop("auto_generate_phrase_queries")
		if isTrue(v) && !n.Has("type") {
			n.SetString("type", "phrase")
		}
	}
	for _, key := range []string{"use_dis_max", "split_on_whitespace", "locale", "lowercase_expanded_terms"} {
		n.Drop(key)
	}
	return nil
}

// allFields writes all_fields as a list of fields.
func allFields(n *Node) {
	if v := n.Get("all_fields"); v.Exists() {
		n.Drop("all_fields")
		if isTrue(v) && !n.Has("fields") && !n.Has("default_field") {
			n.Set("fields", `["*"]`)
		}
	}
}

const percolatorSlot = "_percolator_document_slot"

// percolateOneDocument writes a percolate query for 5.x.
func percolateOneDocument(x *Exchange, n *Node) error {
	if documents := n.Get("documents"); documents.IsArray() {
		if len(documents.Array()) != 1 {
			return x.Refuse("a percolate query with several documents")
		}
		n.Rename("documents", "document")
		n.Set("document", documents.Array()[0].Raw)
	}
	if !n.Has("document_type") {
		n.SetString("document_type", x.ClusterType(x.Endpoint.Index))
	}
	return nil
}

func moreLikeThisNames(n *Node) {
	for _, r := range [][2]string{{"min_word_len", "min_word_length"}, {"max_word_len", "max_word_length"}, {"percent_terms_to_match", "minimum_should_match"}, {"like_text", "like"}} {
		n.Rename(r[0], r[1])
	}
	var like []string
	if v := n.Get("like"); v.IsArray() {
		for _, e := range v.Array() {
			like = append(like, e.Raw)
		}
	} else if v.Exists() {
		like = append(like, v.Raw)
	}
	before := len(like)
	n.Get("docs").ForEach(func(_, d gjson.Result) bool {
		like = append(like, d.Raw)
		return true
	})
	n.Get("ids").ForEach(func(_, id gjson.Result) bool {
		like = append(like, `{"_id":`+id.Raw+`}`)
		return true
	})
	if len(like) > before {
		n.Set("like", "["+strings.Join(like, ",")+"]")
		n.Drop("docs")
		n.Drop("ids")
	}
	edit(n, "minimum_should_match", func(msm *Node) {
		if v := msm.Value(); v.Type == gjson.Number && v.Num > 0 && v.Num < 1 {
			msm.Replace(translate.Quote(itoa(int(math.Round(v.Num*100))) + "%"))
		}
	})
}

// geoOptions writes the options of geo queries and sorts as 6.x reads them.
func geoOptions(_ *Exchange, n *Node) error {
	malformed, coerce := n.Get("ignore_malformed"), n.Get("coerce")
	n.Drop("ignore_malformed")
	n.Drop("coerce")
	if coerce.Exists() || malformed.Exists() {
		method := "STRICT"
		switch {
		case isTrue(malformed):
			method = "IGNORE_MALFORMED"
		case isTrue(coerce):
			method = "COERCE"
		}
		if !n.Has("validation_method") {
			n.SetString("validation_method", method)
		}
	}
	n.Drop("optimize_bbox")
	switch n.Get("distance_type").String() {
	case "sloppy_arc":
		n.SetString("distance_type", "arc")
	case "factor":
		n.SetString("distance_type", "plane")
	}
	return nil
}

func plainAuto(_ *Exchange, n *Node) error {
	if f := n.Get("fuzziness").String(); strings.HasPrefix(strings.ToUpper(f), "AUTO:") {
		n.SetString("fuzziness", "AUTO")
	}
	return nil
}

func plainRewrite(_ *Exchange, n *Node) error {
	for _, key := range []string{"rewrite", "fuzzy_rewrite"} {
		if v := n.Get(key).String(); v == "constant_score_auto" || v == "constant_score_filter" {
			n.SetString(key, "constant_score")
		}
	}
	return nil
}

// commonAsMatch writes a common terms query as a match.
func commonAsMatch(_ *Exchange, n *Node) (string, error) {
	for _, field := range n.Keys() {
		edit(n, field, func(spec *Node) {
			if low := spec.Get("low_freq_operator"); low.Exists() {
				spec.SetString("operator", low.String())
			}
			if msm := spec.Get("minimum_should_match"); msm.IsObject() {
				if low := msm.Get("low_freq"); low.Exists() {
					spec.Set("minimum_should_match", low.Raw)
				} else {
					spec.Drop("minimum_should_match")
				}
			}
			for _, key := range []string{"cutoff_frequency", "low_freq_operator", "high_freq_operator", "disable_coord"} {
				spec.Drop(key)
			}
		})
	}
	return `{"match":` + n.Raw() + `}`, nil
}

// fieldNamesToExists replaces {"term": {"_field_names": f}}.
func fieldNamesToExists(_ *Exchange, n *Node) error {
	v := n.Get("term").Get("_field_names")
	if v.IsObject() {
		v = v.Get("value")
	}
	if v.Type == gjson.String && n.Get("term").IsObject() {
		n.Replace(`{"exists":{"field":` + v.Raw + `}}`)
	}
	return nil
}

// existsAsMatchAll replaces an exists query on what all documents have.
func existsAsMatchAll(_ *Exchange, n *Node) (string, error) {
	switch n.Get("field").String() {
	case "_id", "_index", "_type", "_seq_no", "_version", "_primary_term":
		return `{"match_all":{` + strings.TrimPrefix(common(n), ",") + `}}`, nil
	}
	return "", nil
}

func scriptScoreAsFunctionScore(_ *Exchange, n *Node) (string, error) {
	if !n.Has("script") {
		return "", nil // the cluster says what is wrong
	}
	query := orElse(n.Get("query").Raw, `{"match_all":{}}`)
	more := ""
	if v := n.Get("min_score"); v.Exists() {
		more = `,"min_score":` + v.Raw
	}
	return `{"function_score":{"query":` + query + `,"script_score":{"script":` + n.Get("script").Raw + `},"boost_mode":"replace"` + more + common(n) + `}}`, nil
}

// formatPlaces are the places of searches that name a date format.
var formatPlaces = []Place{
	translate.ClauseField("range"), translate.Aggregation("date_histogram"), translate.Aggregation("date_range"),
	translate.Aggregation("auto_date_histogram"), translate.Aggregation("min"), translate.Aggregation("max"), translate.Aggregation("avg"),
	translate.Aggregation("terms"), translate.SortSpec,
}

// searchFormats changes the date formats that a search names. Formats of
// numbers hold # and 0, which no date format does.
func searchFormats(change func(string) string) []Rule {
	return each(func(_ *Exchange, n *Node) error {
		if f := n.Get("format"); f.Type == gjson.String && !isNumberFormat(f.String()) {
			if changed := change(f.String()); changed != f.String() {
				n.SetString("format", changed)
			}
		}
		return nil
	}, formatPlaces...)
}

// isNumberFormat reports whether a format is one of numbers, which the same
// aggregations take.
func isNumberFormat(format string) bool {
	return strings.ContainsAny(strings.ReplaceAll(format, "iso8601", ""), "#0")
}
