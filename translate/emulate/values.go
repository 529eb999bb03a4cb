package emulate

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

var (
	v6  = esapi.V(6, 0)
	v61 = esapi.V(6, 1)
	v66 = esapi.V(6, 6)
	v67 = esapi.V(6, 7)
	v7  = esapi.V(7, 0)
	v73 = esapi.V(7, 3)
	v8  = esapi.V(8, 0)
)

// values reads parameters as Elasticsearch does. It keeps the first error, in
// Elasticsearch's words.
type values struct {
	params  *esapi.Params
	dialect esapi.Version
	err     error
}

func (v *values) fail(err error) {
	if v.err == nil {
		v.err = err
	}
}

// badNumber is Java's complaint about a text that is no number.
func badNumber(reason, text string) error {
	e := esapi.IllegalArgument(reason)
	e.CausedBy = &esapi.Error{Type: "number_format_exception", Reason: "For input string: " + strconv.Quote(text)}
	e.RootCause = []*esapi.Error{{Type: e.Type, Reason: e.Reason}}
	return e
}

func (v *values) int(name string, otherwise int) int {
	if !v.params.Has(name) {
		return otherwise
	}
	text := v.params.Get(name)
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		v.fail(badNumber("Failed to parse int parameter ["+name+"] with value ["+text+"]", text))
	}
	return int(n)
}

// size is an int that may not be negative from 6.0 on.
func (v *values) size(name, as string, otherwise int) int {
	n := v.int(name, otherwise)
	if n < -1 && v.dialect.AtLeast(v6) {
		v.fail(esapi.IllegalArgument(fmt.Sprintf("[%s] parameter cannot be negative, found [%d]", as, n)))
	}
	return n
}

func (v *values) bool(name string, otherwise bool) bool {
	if !v.params.Has(name) {
		return otherwise
	}
	text := v.params.Get(name)
	if v.dialect.Before(v6) {
		return !slices.Contains([]string{"false", "0", "off", "no"}, text)
	}
	switch text {
	case "true", "":
		return true
	case "false":
		return false
	}
	v.fail(esapi.IllegalArgument("Failed to parse value [" + text + "] as only [true] or [false] are allowed."))
	return otherwise
}

var durations = regexp.MustCompile(`^(-1|0|\d+(?:\.\d+)?(nanos|micros|ms|s|m|h|d))$`)

var units = map[string]time.Duration{
	"nanos": time.Nanosecond, "micros": time.Microsecond, "ms": time.Millisecond, "s": time.Second,
	"m": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
}

// duration checks a time and returns it as it was written, "" if it was not.
func (v *values) duration(name string) string {
	text := strings.TrimSpace(v.params.Get(name))
	if text == "" || durations.MatchString(strings.ToLower(text)) {
		return text
	}
	e := esapi.IllegalArgument("failed to parse setting [" + name + "] with value [" + text + "] as a time value: unit is missing or unrecognized")
	if v.dialect.Before(v6) {
		e.Type = "parse_exception"
	}
	v.fail(e)
	return ""
}

// long is a checked time; what is no length of time is 0.
func long(text string) time.Duration {
	m := durations.FindStringSubmatch(strings.ToLower(text))
	if m == nil || m[2] == "" {
		return 0
	}
	n, err := strconv.ParseFloat(strings.TrimSuffix(m[1], m[2]), 64)
	if d := n * float64(units[m[2]]); err == nil && d < math.MaxInt64/2 {
		return time.Duration(d)
	}
	return 0
}

// unlimited is the number of requests per second of a job that is not throttled.
const unlimited = -1

// requestsPerSecond reads the rate.
func (v *values) requestsPerSecond() float32 {
	const name = "requests_per_second"
	const wrong = "[requests_per_second] must be a float greater than 0. Use -1 to disable throttling."
	if !v.params.Has(name) {
		return unlimited
	}
	text := v.params.Get(name)
	n, err := strconv.ParseFloat(text, 32)
	switch {
	case err != nil:
		v.fail(badNumber(wrong, text))
	case n == -1 || math.IsInf(n, 1):
		return unlimited
	case !(n > 0):
		v.fail(esapi.IllegalArgument(wrong))
	}
	return float32(n)
}

func (v *values) activeShards() {
	const name = "wait_for_active_shards"
	text := v.params.Get(name)
	if !v.params.Has(name) || text == "all" {
		return
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		v.fail(badNumber("cannot parse ActiveShardCount["+text+"]", text))
	} else if n < 0 {
		v.fail(esapi.IllegalArgument("shard count cannot be a negative value"))
	}
}

// slices reads how many slices there are; auto lets the indices decide.
func (v *values) slices() (n int, auto bool) {
	if !v.params.Has("slices") {
		return 1, false
	}
	text := v.params.Get("slices")
	if v.dialect.Before(v61) {
		if n = v.int("slices", 1); n < 1 {
			v.fail(esapi.IllegalArgument("[slices] must be at least 1"))
		}
		return n, false
	}
	if text == "auto" {
		return 1, true
	}
	wrong := `[slices] must be a positive integer or the string "auto", but was [` + text + "]"
	parsed, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		v.fail(badNumber(wrong, text))
	} else if parsed < 1 {
		v.fail(esapi.IllegalArgument(wrong))
	}
	return int(parsed), false
}

// commonParams may be given to every API.
var commonParams = []string{"pretty", "human", "error_trace", "filter_path", "format"}

// known fails if a parameter was given that the API does not have.
func (v *values) known(path string, names ...string) {
	var unknown []string
	for _, key := range v.params.Keys() {
		if !slices.Contains(names, key) && !slices.Contains(commonParams, key) {
			unknown = append(unknown, key)
		}
	}
	if len(unknown) == 0 {
		return
	}
	slices.Sort(unknown)
	list := make([]string, len(unknown))
	for i, key := range unknown {
		list[i] = "[" + key + "]" + meant(key, names)
	}
	plural := ""
	if len(unknown) > 1 {
		plural = "s"
	}
	v.fail(esapi.IllegalArgument("request [" + path + "] contains unrecognized parameter" + plural + ": " + strings.Join(list, ", ")))
}

// meant proposes the parameters that one that is not known looks like.
func meant(key string, names []string) string {
	type candidate struct {
		name  string
		score float64
	}
	var list []candidate
	for _, name := range names {
		if score := 1 - float64(distance(key, name))/float64(max(len(key), len(name))); score > 0.5 {
			list = append(list, candidate{name, score})
		}
	}
	if len(list) == 0 {
		return ""
	}
	slices.SortFunc(list, func(a, b candidate) int {
		if a.score != b.score {
			return int(math.Copysign(1, b.score-a.score))
		}
		return strings.Compare(a.name, b.name)
	})
	if len(list) == 1 {
		return " -> did you mean [" + list[0].name + "]?"
	}
	proposals := make([]string, len(list))
	for i, c := range list {
		proposals[i] = c.name
	}
	return " -> did you mean any of [" + strings.Join(proposals, ", ") + "]?"
}

// distance is how many letters have to be changed to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for i := range row {
		row[i] = i
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func quote(s string) string { return translate.Quote(s) }
