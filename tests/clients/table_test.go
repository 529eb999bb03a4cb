package clients

import (
	"context"
	"fmt"
	"os"
	"regexp"
)

// A client is a program with one version of one library.
type client struct {
	name  string // of the test, and in expected.txt
	major int    // what the library was written for
	on    []int  // the majors behind the gateway

	library  string // as its makers call it
	manifest string // the file that fixes its version
	module   string // how it is called in there

	// prepare downloads and builds what is not there yet and returns the
	// command, which gets the address and the prefix as arguments.
	prepare func(context.Context) (command, error)
}

// A command is a program, what it is called with, and more environment.
type command struct {
	args []string
	env  []string
}

var clients = []client{
	goClient("go-olivere-5", 5, "olivere/elastic", "gopkg.in/olivere/elastic.v5", 8),
	goClient("go-olivere-6", 6, "olivere/elastic", "github.com/olivere/elastic", 8),
	goClient("go-olivere-7", 7, "olivere/elastic", "github.com/olivere/elastic/v7", 5, 6),
	goClient("go-elastic-6", 6, "go-elasticsearch", "github.com/elastic/go-elasticsearch/v6", 8),
	goClient("go-elastic-7", 7, "go-elasticsearch", "github.com/elastic/go-elasticsearch/v7", 5, 6),
	goClient("go-elastic-8", 8, "go-elasticsearch", "github.com/elastic/go-elasticsearch/v8", 5, 6),
	pythonClient(5, 8),
	pythonClient(6, 8),
	pythonClient(7, 5, 6),
	pythonClient(8, 5, 6),
	javaClient("java-highlevel-6", "highlevel6", 6, "elasticsearch-rest-high-level-client", "elasticsearch-rest-high-level-client", 8, 5),
	javaClient("java-highlevel-7", "highlevel7", 7, "elasticsearch-rest-high-level-client", "elasticsearch-rest-high-level-client", 5, 8),
	javaClient("java-api-8", "api8", 8, "elasticsearch-java", "elasticsearch-java", 5, 6),
	nodeClient("node-legacy-5", "legacy", 5, "elasticsearch", []string{"5.6"}, 8),
	nodeClient("node-legacy-6", "legacy", 6, "elasticsearch", []string{"6.8"}, 8),
	nodeClient("node-7", "elastic7", 7, "@elastic/elasticsearch", nil, 5),
	nodeClient("node-8", "elastic8", 8, "@elastic/elasticsearch", nil, 5),
}

// version reads the library's version from its manifest.
func (c *client) version() (string, error) {
	text, err := os.ReadFile(c.manifest)
	if err != nil {
		return "", err
	}
	// go.mod, requirements of pip, pom.xml, package.json
	found := regexp.MustCompile(regexp.QuoteMeta(c.module) + `(?: v|==|</artifactId>\s*<version>|": ")([^\s"<+]+)`).FindSubmatch(text)
	if found == nil {
		return "", fmt.Errorf("%s does not say which version of %s it takes", c.manifest, c.module)
	}
	return string(found[1]), nil
}
