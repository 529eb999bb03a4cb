package catalogue

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// Aggregations: options that changed their names, aggregations that came or
// went, and what they answer where nothing was found.

func init() {
	termsLike := []Place{translate.Aggregation("terms"), translate.Aggregation("significant_terms"), translate.Aggregation("rare_terms")}
	histograms := []Place{translate.Aggregation("histogram"), translate.Aggregation("date_histogram")}
	dateHistograms := []Place{translate.Aggregation("date_histogram")}

	translate.Register(
		&Change{
			ID: "AGG-01", Name: "TermsOrderBecameKey", Since: V(6, 0), Removed: V(8, 0),
			Doc:       `A terms aggregation is ordered by "_key"; "_term" is gone.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: each(orderKey("_term", "_key"), termsLike...)},
			NewClient: Direction{Fidelity: translate.Exact, Request: each(orderKey("_key", "_term"), termsLike...)},
		},
		&Change{
			ID: "AGG-02", Name: "HistogramOrderBecameKey", Since: V(6, 0), Removed: V(8, 0),
			Doc:       `A date_histogram is ordered by "_key"; "_time" is gone.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: each(orderKey("_time", "_key"), histograms...)},
			NewClient: nothing,
		},
		&Change{
			ID: "AGG-03", Name: "IntervalWasSplit", Since: V(7, 2), Removed: V(8, 0),
			Doc:       `The "interval" of a date_histogram is written "calendar_interval" (day, 1M) or "fixed_interval" (12h).`,
			OldClient: Direction{Fidelity: translate.Exact, Request: each(splitInterval, dateHistograms...)},
			NewClient: Direction{Fidelity: translate.Exact, Request: each(joinInterval, dateHistograms...)},
		},
		&Change{
			ID: "AGG-04", Name: "CompositeMissingBecameMissingBucket", Since: V(6, 4), Removed: V(7, 0),
			Doc:       `A source of a composite aggregation keeps documents without a value with "missing_bucket"; "missing" is gone.`,
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the value that stood for missing ones", Request: []Rule{at(translate.Aggregation("composite"), compositeMissing)}},
			NewClient: nothing,
		},
		&Change{
			ID: "AGG-06", Name: "IncludePatternLostItsObject", Since: V(6, 0),
			Doc: `include and exclude of a terms aggregation are plain patterns or lists; {"pattern": …, "flags": …} is gone.`,
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "flags of the pattern", Request: each(func(_ *Exchange, n *Node) error {
				for _, key := range []string{"include", "exclude"} {
					if p := n.Get(key).Get("pattern"); p.Exists() && n.Get(key).IsObject() {
						n.Set(key, p.Raw)
					}
				}
				return nil
			}, termsLike...)},
			NewClient: nothing,
		},
		&Change{
			ID: "AGG-07", Name: "OrdinalHintsWereRemoved", Since: V(7, 0),
			Doc: "The execution hints global_ordinals_hash and global_ordinals_low_cardinality are gone: global_ordinals decides by itself.",
			OldClient: Direction{Fidelity: translate.Exact, Request: each(func(_ *Exchange, n *Node) error {
				if h := n.Get("execution_hint").String(); strings.HasPrefix(h, "global_ordinals_") {
					n.SetString("execution_hint", "global_ordinals")
				}
				return nil
			}, termsLike...)},
			NewClient: nothing,
		},
		&Change{
			ID: "AGG-08", Name: "MovingAvgWasRemoved", Since: V(6, 4), Removed: V(8, 0),
			Doc: "The aggregation moving_avg is gone; moving_fn with a script says the same.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "buckets without a value say null; predict and minimize are refused",
				Request: []Rule{at(translate.Agg, movingAvgToMovingFn)}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "moving_fn goes through only with a call of one of MovingFunctions' averages",
				Request: []Rule{at(translate.Agg, movingFnToMovingAvg)}},
		},
		&Change{
			ID: "AGG-09", Name: "ScriptedMetricGotState", Since: V(6, 4), Removed: V(7, 0),
			Doc: "The scripts of scripted_metric share state and states, which were params._agg and params._aggs, and all but init_script are required.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "scripts are rewritten as text; stored ones are not",
				Request: []Rule{at(translate.Aggregation("scripted_metric"), func(_ *Exchange, n *Node) error {
					replaceInScripts(n, strings.NewReplacer("params._aggs", "states", "params['_aggs']", "states", "params._agg", "state", "params['_agg']", "state"))
					if !n.Has("combine_script") {
						n.SetString("combine_script", "return state")
					}
					if !n.Has("reduce_script") {
						n.SetString("reduce_script", "return states")
					}
					return nil
				})}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "scripts are rewritten as text; stored ones are not",
				Request: []Rule{at(translate.Aggregation("scripted_metric"), stateToAgg)}},
		},
		&Change{
			ID: "AGG-10", Name: "EmptyStatsBecameZeroAndNull", Since: V(7, 0),
			Doc: `Where there are no documents, the sum of stats is 0 and percentiles are null; they were null and "NaN".`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.AggResult, func(_ *Exchange, n *Node) error {
				if isEmptyStats(n) {
					n.Set("sum", "null")
				}
				percentileValues(n, "null", `"NaN"`)
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.AggResult, func(_ *Exchange, n *Node) error {
				if isEmptyStats(n) {
					n.Set("sum", "0.0")
				}
				percentileValues(n, `"NaN"`, "null")
				return nil
			})}},
		},
		&Change{
			ID: "AGG-10", Name: "ExtendedStatsGotSampling", Since: V(7, 9),
			Doc: "extended_stats shows variance and deviation of a population and of a sample, and the bounds of both.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.AggResult, func(_ *Exchange, n *Node) error {
				dropSampling(n)
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.AggResult, func(_ *Exchange, n *Node) error {
				addSampling(n)
				return nil
			})}},
		},
		&Change{
			ID: "AGG-16", Name: "GeohashGridGotBounds", Since: V(7, 6),
			Doc:       "geohash_grid takes bounds.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "bounds: cells outside are counted, too", Request: []Rule{drop(translate.Aggregation("geohash_grid"), "bounds")}},
		},
		&Change{
			ID: "AGG-17", Name: "GeoDistanceTypesWereRemoved", Since: V(6, 0),
			Doc:       "The distance types sloppy_arc and factor of geo_distance are gone; arc and plane remain.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Aggregation("geo_distance"), geoOptions)}},
			NewClient: nothing,
		},
		&Change{
			ID: "AGG-25", Name: "RangesOfAddressesGotKeys", Since: V(6, 0),
			Doc: "The buckets of an ip_range have a key, such as *-10.0.0.5.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Aggregation("ip_range"), noteIPRange)},
				Response: []Rule{at(translate.Bucket, func(x *Exchange, n *Node) error {
					if isAddressRange(x, n) && n.Get("key").String() == addressRangeKey(n) {
						n.Drop("key")
					}
					return nil
				})}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Aggregation("ip_range"), noteIPRange)},
				Response: []Rule{at(translate.Bucket, func(x *Exchange, n *Node) error {
					if isAddressRange(x, n) && !n.Has("key") && n.Name() == "buckets" {
						n.InsertAfter("", "key", translate.Quote(addressRangeKey(n)))
					}
					return nil
				})}},
		},
		&Change{
			ID: "AGG-19", Name: "PercentsMustDiffer", Since: V(8, 0),
			Doc: "The percents of a percentiles aggregation must differ from each other.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Aggregation("percentiles"), func(_ *Exchange, n *Node) error {
				var percents []string
				seen := map[float64]bool{}
				for _, p := range n.Get("percents").Array() {
					if !seen[p.Num] {
						percents = append(percents, p.Raw)
					}
					seen[p.Num] = true
				}
				if len(percents) > 0 && len(percents) < len(n.Get("percents").Array()) {
					n.Set("percents", "["+strings.Join(percents, ",")+"]")
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "AGG-22", Name: "FiltersCanBeAListWithKeys", Since: V(8, 8),
			Doc:       `The named buckets of a filters aggregation are shown as a list with "keyed": false.`,
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Agg, func(x *Exchange, n *Node) error {
				edit(n, "filters", func(f *Node) {
					if f.Get("keyed").Raw == "false" {
						x.Note(unkeyedNote+n.Name(), true)
					}
					f.Drop("keyed")
				})
				return nil
			})}, Response: []Rule{at(translate.AggResult, func(x *Exchange, n *Node) error {
				_, name, typed := strings.Cut(n.Name(), "#")
				if !typed {
					name = n.Name()
				}
				buckets := n.Get("buckets")
				if x.Noted(unkeyedNote+name) == nil || !buckets.IsObject() {
					return nil
				}
				var list []string
				buckets.ForEach(func(key, bucket gjson.Result) bool {
					b := translate.NewNode(bucket.Raw)
					b.InsertAfter("", "key", translate.Quote(key.String()))
					list = append(list, b.Raw())
					return true
				})
				n.Set("buckets", "["+strings.Join(list, ",")+"]")
				return nil
			})}},
		},
		&Change{
			ID: "AGG-24", Name: "HistogramsGotHardBounds", Since: V(7, 10),
			Doc:       "histogram and date_histogram take hard_bounds.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "hard_bounds: there would be buckets outside", Request: each(func(x *Exchange, n *Node) error {
				if n.Has("hard_bounds") {
					return x.Refuse("hard_bounds of the aggregation")
				}
				return nil
			}, histograms...)},
		},
	)
	for _, a := range aggregationsByVersion {
		translate.Register(&Change{
			ID: "AGG-34", Name: a.name, Since: a.since,
			Doc:       "New aggregations: " + strings.Join(a.aggregations, ", ") + ".",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "the aggregations " + strings.Join(a.aggregations, ", "),
				Request: []Rule{at(translate.Agg, func(x *Exchange, n *Node) error {
					for _, name := range a.aggregations {
						if n.Has(name) {
							return x.Refuse("the aggregation %s", name)
						}
					}
					return nil
				})}},
		})
	}
}

// aggregationsByVersion are the aggregations that older clusters have no form
// of.
var aggregationsByVersion = []struct {
	name         string
	since        Version
	aggregations []string
}{
	{"SignificantTextAppeared", V(6, 0), []string{"significant_text"}},
	{"BucketSortAppeared", V(6, 1), []string{"bucket_sort"}},
	{"AutoDateHistogramAppeared", V(6, 4), []string{"auto_date_histogram", "weighted_avg"}},
	{"MedianAbsoluteDeviationAppeared", V(6, 6), []string{"median_absolute_deviation", "parent"}},
	{"RareTermsAppeared", V(7, 3), []string{"rare_terms", "geotile_grid"}},
	{"MetricsOfLicenceTiersAppeared", V(7, 7), []string{"top_metrics", "string_stats", "boxplot", "t_test", "cumulative_cardinality", "rate", "normalize", "moving_percentiles", "inference"}},
	{"VariableWidthHistogramAppeared", V(7, 9), []string{"variable_width_histogram", "geo_line"}},
	{"MultiTermsAppeared", V(7, 12), []string{"multi_terms", "categorize_text"}},
	{"AggregationsOf8Appeared", V(8, 0), []string{"time_series", "random_sampler", "frequent_item_sets", "frequent_items", "ip_prefix", "geohex_grid",
		"change_point", "cartesian_bounds", "cartesian_centroid"}},
}

const unkeyedNote = "filters as a list: "

const ipRangeNote = "an ip_range was asked for"

func noteIPRange(x *Exchange, _ *Node) error {
	x.Note(ipRangeNote, true)
	return nil
}

// isAddressRange reports whether a bucket is one of an ip_range: those of other
// ranges end in numbers.
func isAddressRange(x *Exchange, n *Node) bool {
	from, to := n.Get("from"), n.Get("to")
	return x.Noted(ipRangeNote) != nil && (from.Type == gjson.String || to.Type == gjson.String)
}

func addressRangeKey(n *Node) string {
	return orElse(n.Get("from").String(), "*") + "-" + orElse(n.Get("to").String(), "*")
}

// orderKey renames what an aggregation is ordered by.
func orderKey(from, to string) func(*Exchange, *Node) error {
	return func(_ *Exchange, n *Node) error {
		editEach(n, "order", func(order *Node) { order.Rename(from, to) })
		return nil
	}
}

// calendarIntervals are the intervals of a date_histogram that follow the
// calendar.
var calendarIntervals = []string{"second", "1s", "minute", "1m", "hour", "1h", "day", "1d", "week", "1w", "month", "1M", "quarter", "1q", "year", "1y"}

// splitInterval writes "interval" as 8.x reads it, in a date_histogram or a
// source of a composite aggregation.
func splitInterval(_ *Exchange, n *Node) error {
	v := n.Get("interval")
	if !v.Exists() {
		return nil
	}
	switch {
	case v.Type == gjson.Number:
		n.Rename("interval", "fixed_interval")
		n.SetString("fixed_interval", v.Raw+"ms")
	case slices.Contains(calendarIntervals, v.String()):
		n.Rename("interval", "calendar_interval")
	default:
		n.Rename("interval", "fixed_interval")
		if weeks, ok := strings.CutSuffix(v.String(), "w"); ok && isNumber(weeks) { // 2w, which only the older form takes
			n.SetString("fixed_interval", strconv.Itoa(7*int(gjson.Parse(weeks).Int()))+"d")
		}
	}
	return nil
}

// sameLength are intervals of one calendar unit in units that are not taken for
// the calendar's: to the older form, 1d is a day that may have 23 hours.
var sameLength = map[string]string{"1d": "24h", "1h": "60m", "1m": "60s", "1s": "1000ms"}

// joinInterval writes calendar_interval and fixed_interval as one.
func joinInterval(_ *Exchange, n *Node) error {
	n.Rename("calendar_interval", "interval")
	if v := n.Get("fixed_interval"); v.Exists() {
		n.Rename("fixed_interval", "interval")
		if other, ok := sameLength[v.String()]; ok {
			n.SetString("interval", other)
		}
	}
	return nil
}

// compositeMissing writes "missing" of the sources of a composite.
func compositeMissing(_ *Exchange, n *Node) error {
	editEach(n, "sources", func(source *Node) {
		for _, name := range source.Keys() {
			edit(source, name, func(agg *Node) {
				for _, kind := range agg.Keys() {
					edit(agg, kind, func(body *Node) {
						if body.Drop("missing") {
							body.Set("missing_bucket", "true")
						}
					})
				}
			})
		}
	})
	return nil
}

// movingModels are the models of moving_avg as moving_fn calls them, with the
// names and defaults of their settings.
var movingModels = map[string]struct {
	function string
	settings []string // behind values
	defaults []string
}{
	"simple":       {"unweightedAvg", nil, nil},
	"linear":       {"linearWeightedAvg", nil, nil},
	"ewma":         {"ewma", []string{"alpha"}, []string{"0.3"}},
	"holt":         {"holt", []string{"alpha", "beta"}, []string{"0.3", "0.1"}},
	"holt_winters": {"holtWinters", []string{"alpha", "beta", "gamma", "period", "multiplicative"}, []string{"0.3", "0.1", "0.3", "1", "false"}},
}

func movingAvgToMovingFn(x *Exchange, n *Node) error {
	v := n.Get("moving_avg")
	if !v.IsObject() {
		return nil
	}
	body := translate.NewNode(v.Raw)
	model, ok := movingModels[orElse(body.Get("model").String(), "simple")]
	if !ok {
		return nil // the cluster says what is wrong
	}
	if body.Has("predict") || isTrue(body.Get("minimize")) {
		return x.Refuse("predict and minimize of the aggregation moving_avg")
	}
	arguments := []string{"values"}
	settings := body.Get("settings")
	for i, name := range model.settings {
		value := model.defaults[i]
		switch s := settings.Get(name); {
		case name == "multiplicative":
			value = jsonBool(settings.Get("type").String() == "mult")
		case s.Type == gjson.Number:
			value = s.Raw
		case s.Exists():
			return nil
		}
		arguments = append(arguments, value)
	}
	for _, key := range []string{"model", "settings", "minimize"} {
		body.Drop(key)
	}
	if !body.Has("window") {
		body.Set("window", "5")
	}
	body.SetString("script", "MovingFunctions."+model.function+"("+strings.Join(arguments, ", ")+")")
	n.Rename("moving_avg", "moving_fn")
	n.Set("moving_fn", body.Raw())
	return nil
}

var movingCall = regexp.MustCompile(`^\s*(?:return\s+)?MovingFunctions\.(\w+)\s*\(\s*values\s*((?:,\s*[\w.]+\s*)*)\)\s*;?\s*$`)

func movingFnToMovingAvg(x *Exchange, n *Node) error {
	v := n.Get("moving_fn")
	if !v.IsObject() {
		return nil
	}
	body := translate.NewNode(v.Raw)
	script := body.Get("script")
	if script.IsObject() {
		script = script.Get("source")
	}
	call := movingCall.FindStringSubmatch(script.String())
	if call == nil || body.Has("shift") && body.Get("shift").Raw != "0" {
		return x.Refuse("the aggregation moving_fn with the script %q", script.String())
	}
	var arguments []string
	for a := range strings.SplitSeq(strings.TrimPrefix(strings.TrimSpace(call[2]), ","), ",") {
		if a = strings.TrimSpace(a); a != "" {
			arguments = append(arguments, a)
		}
	}
	for name, model := range movingModels {
		if model.function != call[1] || len(arguments) != len(model.settings) {
			continue
		}
		settings := translate.NewNode("{}")
		for i, key := range model.settings {
			if key == "multiplicative" {
				kind := "add"
				if arguments[i] == "true" {
					kind = "mult"
				}
				settings.SetString("type", kind)
			} else if isNumber(arguments[i]) {
				settings.Set(key, arguments[i])
			} else {
				return x.Refuse("the aggregation moving_fn with the script %q", script.String())
			}
		}
		body.Drop("script")
		body.Drop("shift")
		body.SetString("model", name)
		if settings.Len() > 0 {
			body.Set("settings", settings.Raw())
		}
		n.Rename("moving_fn", "moving_avg")
		n.Set("moving_avg", body.Raw())
		return nil
	}
	return x.Refuse("the aggregation moving_fn with the script %q", script.String())
}

var metricScripts = []string{"init_script", "map_script", "combine_script", "reduce_script"}

// replaceInScripts rewrites the texts of a scripted_metric's scripts.
func replaceInScripts(n *Node, r *strings.Replacer) {
	editScripts(n, func(text string) string { return r.Replace(text) })
}

func editScripts(n *Node, do func(string) string) {
	for _, key := range metricScripts {
		edit(n, key, func(script *Node) {
			if script.IsString() {
				if text := script.String(); do(text) != text {
					script.Replace(translate.Quote(do(text)))
				}
				return
			}
			for _, source := range []string{"source", "inline"} {
				if v := script.Get(source); v.Type == gjson.String && do(v.String()) != v.String() {
					script.SetString(source, do(v.String()))
				}
			}
		})
	}
}

var (
	stateWord  = regexp.MustCompile(`(^|[^\w.'"])state\b`)
	statesWord = regexp.MustCompile(`(^|[^\w.'"])states\b`)
)

// stateToAgg lets scripts of a scripted_metric use params._agg.
func stateToAgg(_ *Exchange, n *Node) error {
	editScripts(n, func(text string) string {
		return stateWord.ReplaceAllString(statesWord.ReplaceAllString(text, "${1}params._aggs"), "${1}params._agg")
	})
	if params := n.Get("params"); params.IsObject() && !params.Get("_agg").Exists() {
		edit(n, "params", func(p *Node) { p.Set("_agg", "{}") }) // made only where there are no parameters
	}
	return nil
}

// isEmptyStats reports whether a result is of stats or extended_stats without
// documents.
func isEmptyStats(n *Node) bool {
	return n.Get("count").Raw == "0" && n.Has("sum") && n.Has("avg")
}

// percentileValues replaces a value by another in the result of percentiles and
// percentile_ranks.
func percentileValues(n *Node, from, to string) {
	if v := n.Get("values"); !v.Exists() || !strings.Contains(v.Raw, from) {
		return
	}
	replace := func(values *Node) {
		for _, key := range values.Keys() {
			if key != "key" && values.Get(key).Raw == from {
				values.Set(key, to)
			}
		}
	}
	editEach(n, "values", replace)
}

// samplings are the two forms that extended_stats shows of variance and
// deviation. What has no form is that of the population.
var samplings = []string{"population", "sampling"}

func isExtendedStats(n *Node) bool {
	return n.Has("sum_of_squares") && n.Has("variance") && n.Get("std_deviation_bounds").IsObject()
}

func dropSampling(n *Node) {
	if !isExtendedStats(n) || !n.Has("variance_population") {
		return
	}
	for _, form := range samplings {
		n.Drop("variance_" + form)
		n.Drop("std_deviation_" + form)
	}
	var bounds object
	for _, end := range []string{"upper", "lower"} {
		bounds.set(end, n.Get("std_deviation_bounds").Get(end).Raw)
	}
	n.Set("std_deviation_bounds", bounds.String())
}

// addSampling computes the sample's forms from the population's: its variance is
// larger by n/(n-1).
func addSampling(n *Node) {
	if !isExtendedStats(n) || n.Has("variance_population") {
		return
	}
	count, variance, avg := n.Get("count").Float(), n.Get("variance"), n.Get("avg")
	deviation, given := n.Get("std_deviation"), n.Get("std_deviation_bounds")
	var bounds object
	bounds.addAll(given)
	bounds.set("upper_population", given.Get("upper").Raw)
	bounds.set("lower_population", given.Get("lower").Raw)
	variances, deviations, upper, lower := "null", "null", "null", "null"
	switch {
	case count == 1:
		variances, deviations, upper, lower = `"NaN"`, `"NaN"`, `"NaN"`, `"NaN"`
	case count > 1 && variance.Type == gjson.Number:
		larger := math.Sqrt(count / (count - 1))
		width := (given.Get("upper").Float() - avg.Float()) * larger
		variances = javaDouble(variance.Float() * count / (count - 1))
		deviations = javaDouble(deviation.Float() * larger)
		upper, lower = javaDouble(avg.Float()+width), javaDouble(avg.Float()-width)
	}
	bounds.set("upper_sampling", upper)
	bounds.set("lower_sampling", lower)
	n.InsertAfter("variance", "variance_population", variance.Raw)
	n.InsertAfter("variance_population", "variance_sampling", variances)
	n.InsertAfter("std_deviation", "std_deviation_population", deviation.Raw)
	n.InsertAfter("std_deviation_population", "std_deviation_sampling", deviations)
	n.Set("std_deviation_bounds", bounds.String())
}

// javaDouble prints a number as Elasticsearch does: with a point.
func javaDouble(f float64) string {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if abs := math.Abs(f); abs != 0 && (abs < 1e-3 || abs >= 1e7) {
		s = strings.NewReplacer("e+0", "E", "e+", "E", "e-0", "E-", "e", "E").Replace(strconv.FormatFloat(f, 'e', -1, 64))
	}
	if !strings.Contains(s, ".") {
		if mantissa, exponent, ok := strings.Cut(s, "E"); ok {
			return mantissa + ".0E" + exponent
		}
		return s + ".0"
	}
	return s
}
