package catalogue

import (
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// The cat APIs: their columns. Those that a client sees by default are asked for
// by name where the cluster's would be others.

func init() {
	translate.Register(
		catColumns("IsWriteIndex", V(7, 4), "cat.aliases", "alias,index,filter,routing.index,routing.search", "is_write_index"),
		withoutNewClient(catColumns("Repository", V(7, 14), "cat.snapshots", // 7.10.2 has not got it; for newer clients it is part of CAT-08
			"id,status,start_epoch,start_time,end_epoch,end_time,duration,indices,successful_shards,failed_shards,total_shards", "repository")),
		catColumns("ComposedOf", V(7, 8), "cat.templates", "name,index_patterns,order,version", "composed_of"),
		catColumns("DatasetSize", V(8, 11), "cat.indices",
			"health,status,index,uuid,pri,rep,docs.count,docs.deleted,store.size,pri.store.size", "dataset.size"),
		catColumns("Dataset", V(8, 11), "cat.shards", "index,shard,prirep,state,docs,store,ip,node", "dataset"),
		catColumns("Forecasts", V(8, 14), "cat.allocation", "shards,disk.indices,disk.used,disk.avail,disk.total,disk.percent,host,ip,node",
			"shards.undesired, write_load.forecast, disk.indices.forecast and node.role"),
		catColumns("UnassignedPrimaries", V(8, 16), "cat.health",
			"epoch,timestamp,cluster,status,node.total,node.data,shards,pri,relo,init,unassign,pending_tasks,max_task_wait_time,active_shards_percent",
			"unassign.pri"),
		&Change{
			ID: "CAT-02", Name: "CatTemplatesShowsPatterns", Since: V(6, 0),
			Doc: "_cat/templates has the column index_patterns with lists in brackets; it was template with one pattern.",
			OldClient: Direction{Fidelity: translate.Exact,
				Request: []Rule{onCat(translate.RequestHead, catRename("cat.templates", "template", "index_patterns", "name,template,order,version"))},
				Response: []Rule{
					catText("cat.templates", func(text string) string {
						text = strings.Replace(text, "index_patterns", "template      ", 1)
						text = strings.Replace(text, "template      \n", "template\n", 1) // the last column
						return patternList.ReplaceAllStringFunc(text, func(list string) string {
							if own, last := strings.CutSuffix(list, "]\n"); last {
								return strings.ReplaceAll(own[1:], ", ", ",") + "\n"
							}
							return strings.ReplaceAll(list[1:len(list)-1], ", ", ",") + "  "
						})
					}),
					catRow("cat.templates", func(n *Node) {
						if p := n.Get("index_patterns"); p.Exists() {
							n.SetString("index_patterns", strings.Trim(p.String(), "[]"))
							n.Rename("index_patterns", "template")
						}
					}),
				}},
			NewClient: Direction{Fidelity: translate.Exact,
				Request: []Rule{onCat(translate.RequestHead, catRename("cat.templates", "index_patterns", "template", ""))},
				Response: []Rule{
					catText("cat.templates", func(text string) string {
						lines := strings.Split(text, "\n")
						for i, line := range lines {
							lines[i] = templateColumn.ReplaceAllStringFunc(line, func(s string) string {
								at := templateColumn.FindStringSubmatch(s)
								if at[2] == "template" && strings.HasPrefix(line, "name ") {
									return at[1] + "index_patterns"
								}
								return at[1] + "[" + at[2] + "]"
							})
						}
						return strings.Join(lines, "\n")
					}),
					catRow("cat.templates", func(n *Node) {
						if p := n.Get("template"); p.Exists() {
							n.SetString("template", "["+p.String()+"]")
							n.Rename("template", "index_patterns")
						}
					}),
				}},
		},
		&Change{
			ID: "CAT-03", Name: "NodeRolesGotMoreLetters", Since: V(7, 0),
			Doc: "The column node.role of _cat/nodes has a letter for each of many roles; it was mdi or a part of it.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{
				catText("cat.nodes", func(text string) string {
					return roleColumn.ReplaceAllStringFunc(text, func(s string) string {
						at := roleColumn.FindStringSubmatch(s)
						return at[1] + oldRoles(at[2]) + at[3]
					})
				}),
				catRow("cat.nodes", func(n *Node) {
					if r := n.Get("node.role"); r.Exists() {
						n.SetString("node.role", oldRoles(r.String()))
					}
				}),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "CAT-03", Name: "FrozenNodesGotALetter", Since: V(7, 12),
			Doc: "The column node.role of _cat/nodes has an f for nodes of the frozen tier.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{
				catText("cat.nodes", func(text string) string {
					return roleColumn.ReplaceAllStringFunc(text, func(s string) string {
						at := roleColumn.FindStringSubmatch(s)
						return at[1] + withoutFrozen(at[2]) + at[3]
					})
				}),
				catRow("cat.nodes", func(n *Node) {
					if r := n.Get("node.role"); r.Exists() {
						n.SetString("node.role", withoutFrozen(r.String()))
					}
				}),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "CAT-04", Name: "CatBulkThreadPoolBecameWrite", Since: V(6, 3),
			Doc: "The thread pool for writes is called write in _cat/thread_pool; it was bulk.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{onCat(translate.RequestHead, catPool("bulk", "write"))}, Response: []Rule{
				catText("cat.thread_pool", func(text string) string { return poolWrite.ReplaceAllString(text, "${1}bulk ${2}") }),
				catRow("cat.thread_pool", poolRow("write", "bulk")),
			}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{onCat(translate.RequestHead, catPool("write", "bulk"))}, Response: []Rule{
				catText("cat.thread_pool", func(text string) string { return poolBulk.ReplaceAllString(text, "${1}write${2}") }),
				catRow("cat.thread_pool", poolRow("bulk", "write")),
			}},
		},
		&Change{
			ID: "CAT-04", Name: "ThreadPoolColumnsWereRenamed", Since: V(7, 0),
			Doc: "The columns size and min of _cat/thread_pool are called pool_size and core.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the headers have the new names", Request: []Rule{
				onCat(translate.RequestHead, catRename("cat.thread_pool", "size", "pool_size", "")),
				onCat(translate.RequestHead, catRename("cat.thread_pool", "min", "core", ""))}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the headers have the old names", Request: []Rule{
				onCat(translate.RequestHead, catRename("cat.thread_pool", "pool_size", "size", "")),
				onCat(translate.RequestHead, catRename("cat.thread_pool", "core", "min", ""))}},
		},
	)
}

// catColumns makes the change of a column that appeared among those that are
// shown by default; before are all the others.
func catColumns(name string, since Version, api, before, column string) *Change {
	return &Change{
		ID: "CAT-01", Name: "CatColumn" + name + "Appeared", Since: since,
		Doc: "/" + strings.Replace(strings.Replace(api, "cat.", "_cat/", 1), ".", "/", 1) + " shows " + column + " by default.",
		OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{onCat(translate.RequestHead, func(x *Exchange, _ *Node) error {
			if x.Asked.API == api && !x.Params.Has("h") && !x.Params.Has("help") {
				x.Params.Set("h", before)
			}
			return nil
		})}},
		NewClient: addedColumn(api, column),
	}
}

func withoutNewClient(c *Change) *Change {
	c.NewClient = nothing
	return c
}

// lastColumns are the columns that stand behind all others and have one value
// where the cluster does not know them.
var lastColumns = map[string]string{"is_write_index": "-", "composed_of": ""}

// addedColumn shows a column to a client whose cluster does not have it, where
// that can be done.
func addedColumn(api, column string) Direction {
	value, can := lastColumns[column]
	if !can {
		return Direction{Fidelity: translate.Lossy, Loses: "the column is not shown"}
	}
	return Direction{Fidelity: translate.Exact, Response: []Rule{
		at(translate.AnswerHead, func(x *Exchange, n *Node) error {
			if x.AskedParams.Has("h") {
				return nil
			}
			head := x.Params.Has("v") && x.Params.Get("v") != "false"
			return catText(api, func(text string) string {
				lines := strings.SplitAfter(text, "\n")
				for i, line := range lines {
					row, ended := strings.CutSuffix(line, "\n")
					switch {
					case !ended:
					case head && i == 0:
						lines[i] = row + " " + column + "\n"
					default:
						lines[i] = row + " " + value + "\n"
					}
				}
				return strings.Join(lines, "")
			}).Do(x, n)
		}),
		at(translate.Answer, func(x *Exchange, n *Node) error {
			if x.Asked.API == api && !x.AskedParams.Has("h") && n.Len() > 0 && !n.Has("error") {
				n.SetString(column, value)
			}
			return nil
		}),
	}}
}

// catRename gives a column that the client asks for, or sorts by, another name.
// without are the columns to ask for if it names none, "" for the cluster's.
func catRename(api, from, to, without string) func(*Exchange, *Node) error {
	return func(x *Exchange, _ *Node) error {
		if x.Asked.API != api {
			return nil
		}
		for _, p := range []string{"h", "s"} {
			given := x.Params.Get(p)
			columns := strings.Split(given, ",")
			for i, c := range columns {
				name, order, found := strings.Cut(c, ":")
				if name != from {
					continue
				}
				columns[i] = to
				if found {
					columns[i] += ":" + order
				}
			}
			if changed := strings.Join(columns, ","); changed != given {
				x.Params.Set(p, changed)
			}
		}
		if without != "" && !x.Params.Has("h") && !x.Params.Has("help") {
			x.Params.Set("h", strings.Replace(without, from, to, 1))
		}
		return nil
	}
}

// catText makes a rule for an answer that is a table in text.
func catText(api string, change func(string) string) Rule {
	return onCat(translate.AnswerHead, func(x *Exchange, _ *Node) error {
		if x.Asked.API != api || x.Status != 200 || x.Params.Has("help") || !strings.HasPrefix(x.AnswerHeader.Get("Content-Type"), "text/plain") {
			return nil
		}
		text := x.Replacement
		if text == nil {
			text = x.AnswerBody()
		}
		if changed := change(string(text)); changed != string(text) {
			x.Replacement = []byte(changed)
			x.Edited()
		}
		return nil
	})
}

// catRow makes a rule for the rows of an answer in JSON.
func catRow(api string, change func(n *Node)) Rule {
	return at(translate.Answer, func(x *Exchange, n *Node) error {
		if x.Asked.API == api {
			change(n)
		}
		return nil
	})
}

var (
	patternList    = regexp.MustCompile(`\[[^\]\n]*\]\n?`)
	templateColumn = regexp.MustCompile(`^(\S+\s+)(\S+)`)
	roleColumn     = regexp.MustCompile(`(?m)(^|\s)([a-z]+|-)(\s+[*-]\s)`)
	poolWrite      = regexp.MustCompile(`(?m)(^|\s)write(\s)`)
	poolBulk       = regexp.MustCompile(`(?m)(^|\s)bulk ?(\s)`)
)

// oldRoles are the letters that 5.x and 6.x have for roles.
func oldRoles(letters string) string {
	s := ""
	if strings.Contains(letters, "m") {
		s += "m"
	}
	if strings.ContainsAny(letters, "dhwcsf") {
		s += "d"
	}
	if strings.Contains(letters, "i") {
		s += "i"
	}
	if s == "" {
		return "-"
	}
	return s
}

func withoutFrozen(letters string) string {
	if s := strings.ReplaceAll(letters, "f", ""); s != "" {
		return s
	}
	return "-"
}

func catPool(from, to string) func(*Exchange, *Node) error {
	return func(x *Exchange, _ *Node) error {
		if x.Asked.API != "cat.thread_pool" {
			return nil
		}
		names := strings.Split(x.Endpoint.Name, ",")
		if i := slices.Index(names, from); i >= 0 {
			names[i] = to
			x.Endpoint.Name = strings.Join(names, ",")
			x.Edited()
		}
		return nil
	}
}

func poolRow(from, to string) func(n *Node) {
	return func(n *Node) {
		if name := n.Get("name"); name.Type == gjson.String && name.String() == from {
			n.SetString("name", to)
		}
	}
}
