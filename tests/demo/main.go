// The demo shows what esperanto does, on real clusters: an application of the
// Elasticsearch 5 era runs through the gateway while its documents are
// replicated to an Elasticsearch 8, and the master is moved there and back under
// it. Every step is checked; the exit status is 0 only if all of them held.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

func main() {
	binary := flag.String("gateway", "bin/esperanto", "the esperanto binary")
	exit := flag.Bool("exit", false, "end when all steps are done, in place of keeping the gateway running")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *binary, *exit); err != nil {
		fmt.Fprintf(os.Stderr, "\nThe demo failed: %v\n", err)
		stop()
		os.Exit(1)
	}
}

// A demo is what the steps share.
type demo struct {
	source, target *harness.Cluster
	gateway        *gateway.Gateway
	binary         string
	app            *application
}

func run(ctx context.Context, binary string, exit bool) (err error) {
	d := &demo{binary: binary}
	defer func() { err = errors.Join(err, d.close()) }()

	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"Starting a real Elasticsearch 5.6.16 and a real 8.7.1 (the first time they are downloaded from Maven)", d.startClusters},
		{"Starting the gateway in front of them, with its embedded journal", d.startGateway},
		{"An application with the Go client of Elasticsearch 5 connects, sniffing on: it believes that this is its old cluster", d.connect},
		{"It creates an index with a mapping type, which Elasticsearch 8 does not know", d.createIndex},
		{"It writes single documents and bulks, updates partially, deletes", d.write},
		{"It searches with aggregations", d.search},
		{"The same documents with the same _version stand in both clusters", d.compare},
		{"The follower is stopped; the application goes on writing and notices nothing", d.stopFollower},
		{"The follower is started again and catches up", d.startFollower},
		{"The master is moved to Elasticsearch 8 while a writer keeps writing", func(ctx context.Context) error {
			return d.switchMaster(ctx, targetName)
		}},
		{"The same client of Elasticsearch 5 goes on, now answered by Elasticsearch 8", d.goOn},
		{"And back again to Elasticsearch 5", func(ctx context.Context) error { return d.switchMaster(ctx, sourceName) }},
		{"At the end both clusters are equal", d.compare},
	} {
		fmt.Printf("\n● %s\n", step.what)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	fmt.Println("\nEvery step held.")
	if exit {
		return nil
	}
	d.printWhatToTry()
	<-ctx.Done()
	return nil
}

func (d *demo) close() error {
	var errs []error
	if d.gateway != nil {
		errs = append(errs, d.gateway.Close())
	}
	for _, c := range []*harness.Cluster{d.source, d.target} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// say prints a line of explanation below a step.
func say(format string, args ...any) { fmt.Printf("    "+format+"\n", args...) }

// startLimit bounds the start of both clusters, download included.
const startLimit = 10 * time.Minute

func (d *demo) startClusters(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	type started struct {
		to  **harness.Cluster
		c   *harness.Cluster
		err error
	}
	results := make(chan started)
	for version, to := range map[string]**harness.Cluster{"5.6.16": &d.source, "8.7.1": &d.target} {
		go func() {
			c, err := harness.StartElasticsearch(ctx, harness.Options{Version: version, Progress: os.Stdout})
			results <- started{to, c, err}
		}()
	}
	var errs []error
	for range 2 {
		r := <-results
		*r.to = r.c
		errs = append(errs, r.err)
		if r.err == nil {
			say("Elasticsearch %s answers at %s", r.c.Version, r.c.URL())
		}
	}
	return errors.Join(errs...)
}

func (d *demo) printWhatToTry() {
	g := d.gateway
	fmt.Printf(`
The gateway goes on running; Ctrl-C ends everything. Try, in another terminal:

    curl %[1]s                                  # the gateway says 5.6.16
    curl '%[1]s/library/_search?pretty'
    curl %[2]s/library/_count                   # Elasticsearch 5.6.16
    curl %[3]s/library/_count                   # Elasticsearch 8.7.1
    %[4]s status --address %[5]s
    %[4]s switch %[6]s --address %[5]s
`, g.URL(), d.source.URL(), d.target.URL(), d.binary, g.Admin(), targetName)
}
