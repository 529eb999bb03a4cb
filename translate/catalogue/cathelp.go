package catalogue

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// The columns that _cat/...?help lists.

// helpTable says from which version on, and before which, an API of cat has a
// column; the form is that of paramTable. That a column is in 7.11 says that
// 7.10.2 has not got it and 8.7.1 has.
const helpTable = `
cat.aliases    is_write_index 7.4-
cat.indices    search.throttled 6.6-, refresh.external_total 7.2-, pri.refresh.external_total 7.2-, refresh.external_time 7.2-, pri.refresh.external_time 7.2-, bulk.total_operations 7.11-, pri.bulk.total_operations 7.11-, bulk.total_time 7.11-, pri.bulk.total_time 7.11-, bulk.total_size_in_bytes 7.11-, pri.bulk.total_size_in_bytes 7.11-, bulk.avg_time 7.11-, pri.bulk.avg_time 7.11-, bulk.avg_size_in_bytes 7.11-, pri.bulk.avg_size_in_bytes 7.11-
cat.nodes      flavor 6.3-, type 6.3-, query_cache.hit_count 7.3-, query_cache.miss_count 7.3-, refresh.external_total 7.2-, refresh.external_time 7.2-, script.compilation_limit_triggered 7.0-, bulk.total_operations 7.11-, bulk.total_time 7.11-, bulk.total_size_in_bytes 7.11-, bulk.avg_time 7.11-, bulk.avg_size_in_bytes 7.11-, shard_stats.total_count 7.11-, mappings.total_count 7.11-, mappings.total_estimated_overhead_in_bytes 7.11-
cat.recovery   start_time 7.0-, start_time_millis 7.0-, stop_time 7.0-, stop_time_millis 7.0-
cat.shards     seq_no.max 6.0-, seq_no.local_checkpoint 6.0-, seq_no.global_checkpoint 6.0-, refresh.external_total 7.2-, refresh.external_time 7.2-, path.data 7.0-, path.state 7.0-, bulk.total_operations 7.11-, bulk.total_time 7.11-, bulk.total_size_in_bytes 7.11-, bulk.avg_time 7.11-, bulk.avg_size_in_bytes 7.11-
cat.snapshots  repository 7.11-
cat.tasks      x_opaque_id 7.0-
cat.templates  composed_of 7.8-
`

func init() {
	columns := parseParams(helpTable)
	var versions []Version
	for _, c := range columns {
		if !slices.Contains(versions, c.since) {
			versions = append(versions, c.since)
		}
	}
	for _, v := range versions {
		appeared := map[string][]string{}
		for _, c := range columns {
			if c.since == v {
				appeared[c.api] = append(appeared[c.api], c.name)
			}
		}
		translate.Register(&Change{
			ID: "CAT-01", Name: "HelpOfCatIn" + underscored(v), Since: v,
			Doc: "The help of the cat APIs lists the columns that came with " + v.Short() + ".",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{helpLines(func(api, column, line string) string {
				if slices.Contains(appeared[api], column) {
					return ""
				}
				return line
			})}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the help lists the cluster's columns"},
		})
	}
	translate.Register(&Change{
		ID: "CAT-02", Name: "HelpOfCatTemplatesListsPatterns", Since: V(6, 0),
		Doc: "The help of _cat/templates lists index_patterns; it was template.",
		OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{helpLines(func(api, column, line string) string {
			if api == "cat.templates" && column == "index_patterns" {
				return strings.Replace(line, "index_patterns", "template      ", 1)
			}
			return line
		})}},
		NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{helpLines(func(api, column, line string) string {
			if api == "cat.templates" && column == "template" {
				return "index_patterns" + strings.TrimPrefix(strings.TrimPrefix(line, "template"), "      ")
			}
			return line
		})}},
	})
}

// helpLines makes a rule for the lines of a help, each about one column.
func helpLines(change func(api, column, line string) string) Rule {
	return onCat(translate.AnswerHead, func(x *Exchange, _ *Node) error {
		text := string(x.Replacement)
		if !strings.HasPrefix(x.Asked.API, "cat.") || !x.Params.Has("help") || x.Status != 200 {
			return nil
		}
		if x.Replacement == nil {
			text = string(x.AnswerBody())
		}
		if gjson.Valid(text) {
			return nil // format=json
		}
		var b strings.Builder
		for line := range strings.Lines(text) {
			column, _, _ := strings.Cut(line, "|")
			b.WriteString(change(x.Asked.API, strings.TrimSpace(column), line))
		}
		if b.String() != text {
			x.Replacement = []byte(b.String())
			x.Edited()
		}
		return nil
	})
}
