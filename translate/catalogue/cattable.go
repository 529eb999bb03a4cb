package catalogue

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Snapshots of all repositories in one table, which clusters before 7.14 (7.10.2 is one) have for
// one repository at a time.

func init() {
	translate.Register(&Change{
		ID: "CAT-08", Name: "CatSnapshotsReachesOverRepositories", Since: V(7, 14),
		Doc: "/_cat/snapshots without a repository shows those of all, and the column repository by default; before, it needs a repository.",
		OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, []string{"cat.snapshots"}, func(x *Exchange, _ *Node) error {
			if x.Asked.API == "cat.snapshots" && x.Asked.Name == "" && !x.Params.Has("help") {
				return esapi.ValidationFailed("repository is missing")
			}
			return nil
		})}},
		NewClient: Direction{Fidelity: translate.Lossy, Loses: "s= sorts texts, one repository after the other otherwise", Request: []Rule{onAPIs(translate.RequestHead, []string{"cat.snapshots"}, func(x *Exchange, _ *Node) error {
			if x.Asked.API != "cat.snapshots" || x.Params.Has("help") {
				return nil
			}
			x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
				return catSnapshots(ctx, x, r, next)
			})
			if x.Asked.Name == "" {
				x.Endpoint.API, x.Endpoint.Path = "", "/"
			}
			return nil
		})}},
	})
}

// snapshotColumns are those of 7.x, with their other names, and whether they are
// aligned to the right.
var snapshotColumns = []struct {
	name  string
	other string
	right bool
}{
	{"id", "snapshot", false}, {"repository", "re,repo", false}, {"status", "s", true}, {"start_epoch", "ste,startEpoch", false},
	{"start_time", "sti,startTime", false}, {"end_epoch", "ete,endEpoch", false}, {"end_time", "eti,endTime", false}, {"duration", "dur", true},
	{"indices", "i", true}, {"successful_shards", "ss", true}, {"failed_shards", "fs", true}, {"total_shards", "ts", true},
}

// catSnapshots makes the table out of those of each repository.
func catSnapshots(ctx context.Context, x *Exchange, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	repositories := []string{x.Asked.Name}
	if x.Asked.Name == "" {
		known, err := ask(ctx, next, "/_snapshot")
		if err != nil {
			return nil, err
		}
		repositories = keysOf(known)
	}
	columns := strings.Split(x.AskedParams.Get("h"), ",")
	if !x.AskedParams.Has("h") {
		columns = nil
		for _, c := range snapshotColumns {
			columns = append(columns, c.name)
		}
	}
	asked := slices.DeleteFunc(slices.Clone(columns), isRepositoryColumn)
	if len(asked) == 0 {
		asked = []string{"id"} // so that there is a row for each
	}
	var rows []object
	for _, name := range repositories {
		sent := *r
		sent.Method, sent.Params = http.MethodGet, r.Params.Clone()
		e := esapi.Endpoint{API: "cat.snapshots", Method: http.MethodGet, Name: name}
		sent.Path, _ = e.PathFor(x.Cluster)
		for _, p := range []string{"v", "s"} {
			sent.Params.Drop(p)
		}
		sent.Params.Set("h", strings.Join(asked, ","))
		sent.Params.Set("format", "json")
		a, err := next.Send(ctx, &sent)
		if err != nil {
			return nil, err
		}
		body, err := readAll(a)
		if err != nil {
			return nil, err
		}
		if a.Status >= 400 {
			return esapi.NewResponse(a.Status, body), nil
		}
		gjson.ParseBytes(body).ForEach(func(_, got gjson.Result) bool {
			rows = append(rows, rowWith(columns, got, name))
			return true
		})
	}
	sortRows(rows, x.AskedParams.Get("s"))
	if wantsJSON(x) {
		var list []string
		for _, row := range rows {
			list = append(list, row.String())
		}
		return esapi.NewResponse(http.StatusOK, []byte("["+strings.Join(list, ",")+"]")), nil
	}
	table := esapi.NewResponse(http.StatusOK, []byte(textTable(columns, rows, x.AskedParams.Bool("v"))))
	table.Header.Set("Content-Type", "text/plain; charset=UTF-8")
	return table, nil
}

func isRepositoryColumn(c string) bool { return c == "repository" || c == "re" || c == "repo" }

// rowWith puts the repository into a row.
func rowWith(columns []string, got gjson.Result, repository string) object {
	var row object
	for _, c := range columns {
		if isRepositoryColumn(c) {
			row.set(c, translate.Quote(repository))
		} else if v := member(got, c); v.Exists() {
			row.set(c, v.Raw)
		}
	}
	return row
}

func sortRows(rows []object, by string) {
	if by == "" {
		return
	}
	keys := strings.Split(by, ",")
	slices.SortStableFunc(rows, func(a, b object) int {
		for _, key := range keys {
			name, order, _ := strings.Cut(key, ":")
			c := strings.Compare(gjson.Parse(a.values[name]).String(), gjson.Parse(b.values[name]).String())
			if order == "desc" {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return 0
	})
}

func wantsJSON(x *Exchange) bool {
	format := x.AskedParams.Get("format")
	return format == "json" || format == "" && strings.Contains(x.Header.Get("Accept"), "application/json")
}

// textTable writes rows as the cat APIs do: numbers to the right, and all columns
// filled up but the last.
func textTable(columns []string, rows []object, head bool) string {
	right := make([]bool, len(columns))
	width := make([]int, len(columns))
	cells := make([][]string, 0, len(rows)+1)
	if head {
		cells = append(cells, columns)
	}
	for _, row := range rows {
		line := make([]string, len(columns))
		for i, c := range columns {
			line[i] = gjson.Parse(row.values[c]).String()
		}
		cells = append(cells, line)
	}
	for i, c := range columns {
		for _, known := range snapshotColumns {
			if known.name == c || slices.Contains(strings.Split(known.other, ","), c) {
				right[i] = known.right
			}
		}
		for _, line := range cells {
			width[i] = max(width[i], utf8.RuneCountInString(line[i]))
		}
	}
	var b strings.Builder
	for _, line := range cells {
		for i, text := range line {
			if i > 0 {
				b.WriteByte(' ')
			}
			fill := strings.Repeat(" ", width[i]-utf8.RuneCountInString(text))
			switch {
			case right[i]:
				b.WriteString(fill + text)
			case i == len(line)-1:
				b.WriteString(text)
			default:
				b.WriteString(text + fill)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
