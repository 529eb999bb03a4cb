// Command clusters runs real Elasticsearch and Kafka for the tests of a run,
// or by hand:
//
//	clusters exec -- go test ./...    clusters start when a test asks, once for all packages
//	clusters up 5.6.16 8.7.1 kafka    starts these, prints addresses, waits for an interrupt
//	clusters fetch                    fills the cache, so that later runs need no network
//
// Everything that it started ends with it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/esperanto-es/esperanto/tests/harness"
)

const usage = `usage: clusters exec -- command [argument ...]
       clusters up (version | kafka) ...
       clusters fetch
`

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	args := os.Args[1:]
	var err error
	switch {
	case len(args) > 1 && args[0] == "exec":
		args = args[1:]
		if args[0] == "--" {
			args = args[1:]
		}
		err = run(ctx, args)
	case len(args) > 1 && args[0] == "up":
		err = up(ctx, args[1:])
	case len(args) == 1 && args[0] == "fetch":
		err = harness.Fetch(ctx, os.Stderr)
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	var failed *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &failed) && failed.ExitCode() > 0:
		os.Exit(failed.ExitCode()) // the command has said why
	default:
		fmt.Fprintln(os.Stderr, "clusters:", err)
		os.Exit(1)
	}
}

// run runs a command whose tests may borrow clusters.
func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("exec needs a command")
	}
	control, err := harness.NewControl(os.Stderr)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), control.Env()...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// A signal to us is handed on; then the command has some time to end.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	err = cmd.Run()
	if cerr := control.Close(); err == nil {
		err = cerr
	}
	return err
}

// up starts clusters and keeps them until the context ends.
func up(ctx context.Context, names []string) (err error) {
	for _, name := range names {
		if name == "kafka" {
			k, serr := harness.StartKafka(ctx, harness.KafkaOptions{Progress: os.Stderr})
			if serr != nil {
				return serr
			}
			defer func() { err = errors.Join(err, k.Close()) }()
			continue
		}
		c, serr := harness.StartElasticsearch(ctx, harness.Options{Version: name, Progress: os.Stderr})
		if serr != nil {
			return serr
		}
		defer func() { err = errors.Join(err, c.Close()) }()
	}
	fmt.Fprintln(os.Stderr, "interrupt to stop")
	<-ctx.Done()
	return nil
}
