package harness

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A release is an Elasticsearch version that the harness can run. To add one,
// add a line here and a profile of the same name to
// artifacts/elasticsearch/pom.xml.
type release struct {
	Version  string
	Modules  []module          // modules to add to the distribution
	Settings map[string]string // beyond those that all versions get
}

// A module is a folder below modules/ that the distribution lacks.
type module struct {
	Name  string
	Jars  string // artifacts that go into it, by artifactId
	Lent  string // jars of other modules: "donor:module/glob" or "own:module/glob"
	Class string // plugin class, if it is another one than the donor's
}

// donor is the complete distribution that lends descriptors and security
// policies to modules which are published as bare jars.
const donor = "6.8.23"

// Tests compile more scripts than the default limits allow.
var (
	manyScripts5 = map[string]string{"script.max_compilations_per_minute": "10000"}
	manyScripts6 = map[string]string{"script.max_compilations_rate": "10000/1m"}
	manyScripts  = map[string]string{"script.disable_max_compilations_rate": "true"}
)

var releases = []release{
	{Version: "5.6.16", Settings: manyScripts5},
	{Version: "6.8.23", Settings: manyScripts6},
	{Version: "7.10.2", Settings: manyScripts, Modules: modules7_10},
	{Version: "7.17.28", Modules: modules7_17},
	{Version: "8.7.1"},
}

var modules7_10 = []module{
	{Name: "aggs-matrix-stats", Jars: "aggs-matrix-stats"},
	{Name: "analysis-common", Jars: "analysis-common"},
	{Name: "ingest-common", Jars: "ingest-common grok dissect joni jcodings"},
	{Name: "ingest-user-agent", Jars: "ingest-user-agent"},
	{Name: "lang-expression", Jars: "lang-expression lucene-expressions", Lent: "donor:lang-expression/a*.jar"},
	{Name: "lang-mustache", Jars: "lang-mustache compiler"},
	{Name: "lang-painless", Jars: "lang-painless scripting-painless-spi antlr4-runtime asm asm-util asm-commons asm-tree asm-analysis"},
	{Name: "mapper-extras", Jars: "mapper-extras"},
	{Name: "parent-join", Jars: "parent-join"},
	{Name: "percolator", Jars: "percolator"},
	{Name: "rank-eval", Jars: "rank-eval"},
	{Name: "reindex", Jars: "reindex elasticsearch-rest-client ssl-config httpclient httpcore httpasyncclient httpcore-nio commons-codec commons-logging"},
	{Name: "repository-url", Jars: "repository-url"},
}

var modules7_17 = []module{
	{Name: "aggs-matrix-stats", Jars: "aggs-matrix-stats-client"},
	{Name: "lang-mustache", Jars: "lang-mustache-client compiler"},
	{Name: "mapper-extras", Jars: "mapper-extras-client"},
	{Name: "parent-join", Jars: "parent-join-client"},
	{Name: "percolator", Jars: "percolator-client"},
	{Name: "rank-eval", Jars: "rank-eval-client"},
	{Name: "reindex", Jars: "reindex-client elasticsearch-rest-client elasticsearch-ssl-config",
		Lent:  "own:x-pack-core/http*.jar own:x-pack-core/commons-*.jar",
		Class: "org.elasticsearch.reindex.ReindexPlugin"},
}

// Versions returns the Elasticsearch versions that can be run, oldest first.
func Versions() []string {
	var all []string
	for _, r := range releases {
		all = append(all, r.Version)
	}
	return all
}

func findRelease(version string) (release, error) {
	i := slices.IndexFunc(releases, func(r release) bool { return r.Version == version })
	if i < 0 {
		return release{}, fmt.Errorf("no Elasticsearch %q: there are %s", version, strings.Join(Versions(), ", "))
	}
	return releases[i], nil
}

// major returns the number before the first dot.
func (r release) major() int {
	first, _, _ := strings.Cut(r.Version, ".")
	n, _ := strconv.Atoi(first)
	return n
}
