package harness

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A server is an Elasticsearch process with its folders, whether it runs or not.
type server struct {
	options Options
	release release
	name    string // of the cluster; nobody else has it
	home    string // the distribution
	runDir  string // configuration, log, temporary files; removed by close
	dataDir string
	port    int // of HTTP; 0 before the first start
	say     func(format string, args ...any)
	dog     *watchdog

	mu   sync.Mutex // held while something starts or ends
	proc *process   // nil if it does not run
}

func newServer(ctx context.Context, o Options) (*server, error) {
	r, err := findRelease(o.Version)
	if err != nil {
		return nil, err
	}
	if _, err := findJava(); err != nil {
		return nil, err
	}
	o.Heap = cmp.Or(o.Heap, "512m")
	o.StartTimeout = cmp.Or(o.StartTimeout, 3*time.Minute)
	if o.TLS && len(o.Users) == 0 {
		o.Users = map[string]string{"elastic": "esperanto"}
	}
	s := &server{options: o, release: r, say: reporter(o.Progress)}
	if s.home, err = distribution(ctx, r, s.say); err != nil {
		return nil, err
	}
	if s.secured() && !s.knowsSecurity() {
		return nil, errors.New("this distribution has no security: use 7.17.28 or 8.7.1 for TLS and users")
	}
	s.name = fmt.Sprintf("esperanto-%s-%06x", cmp.Or(o.Name, strings.ReplaceAll(o.Version, ".", "-")), rand.IntN(1<<24))
	if s.runDir, err = makeRunDir("elasticsearch-" + o.Version); err != nil {
		return nil, err
	}
	if s.dog, err = newWatchdog(s.runDir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.runDir))
	}
	if err := s.makeFolders(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *server) makeFolders() error {
	for _, name := range []string{"config", "tmp", "logs", "repo"} {
		if err := os.Mkdir(filepath.Join(s.runDir, name), 0o755); err != nil {
			return err
		}
	}
	s.dataDir = filepath.Join(s.runDir, "data")
	if s.options.DataDir != "" {
		var err error
		if s.dataDir, err = filepath.Abs(s.options.DataDir); err != nil {
			return err
		}
		if a := unprivileged(); a != nil && !traversable(filepath.Join(s.dataDir)) {
			return fmt.Errorf("the data folder %s cannot be reached by the user %d that clusters run as", s.dataDir, a.uid)
		}
	}
	if err := os.MkdirAll(s.dataDir, 0o755); err != nil {
		return err
	}
	if s.options.TLS {
		return makeCertificates(s.configDir())
	}
	return nil
}

func (s *server) configDir() string { return filepath.Join(s.runDir, "config") }
func (s *server) logFile() string   { return filepath.Join(s.runDir, "elasticsearch.log") }

func (s *server) url() string {
	scheme := "http"
	if s.options.TLS {
		scheme = "https"
	}
	return fmt.Sprintf("%s://127.0.0.1:%d", scheme, s.port)
}

// cluster returns the handle for the owner.
func (s *server) cluster() *Cluster {
	c := &Cluster{Version: s.release.Version, url: s.url(), log: s.logFile(), own: s}
	c.Username, c.Password = s.superuser()
	if s.options.TLS {
		c.CAFile = filepath.Join(s.configDir(), caFile)
	}
	return c
}

// errPortTaken means that somebody else took a port after we had found it free.
var errPortTaken = errors.New("the port is taken")

// start starts the process and returns once it answers. The first start finds
// a port; later ones use the same.
func (s *server) start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil && s.proc.running() {
		return fmt.Errorf("elasticsearch %s runs already", s.release.Version)
	}
	s.say("starting elasticsearch %s ...", s.release.Version)
	begin := time.Now()
	first := s.port == 0
	var err error
	for range 5 {
		if first {
			ports, perr := freePorts(1)
			if perr != nil {
				return perr
			}
			s.port = ports[0]
		}
		if err = s.startOnce(ctx); !errors.Is(err, errPortTaken) {
			break
		}
		if !first {
			err = errors.Join(err, sleep(ctx, time.Second))
		}
	}
	if err != nil {
		return fmt.Errorf("elasticsearch %s did not start: %w; the end of its log:\n%s", s.release.Version, err, tail(readEnd(s.logFile(), 64<<10), 40))
	}
	s.say("elasticsearch %s is up at %s after %.1f s", s.release.Version, s.url(), time.Since(begin).Seconds())
	return nil
}

func (s *server) startOnce(ctx context.Context) error {
	java, err := findJava()
	if err != nil {
		return err
	}
	if err := s.writeConfig(); err != nil {
		return err
	}
	as := unprivileged()
	if err := errors.Join(as.own(s.runDir), as.own(s.dataDir)); err != nil {
		return err
	}
	logged := fileSize(s.logFile())
	proc, err := startProcess(s.command(java), s.dog)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.options.StartTimeout, fmt.Errorf("no answer within %v", s.options.StartTimeout))
	defer cancel()
	if err := s.awaitReady(ctx, proc); err != nil {
		err = errors.Join(err, proc.kill(), s.dog.watch(0))
		if text := readFrom(s.logFile(), logged); strings.Contains(text, "BindException") || strings.Contains(text, "Address already in use") {
			err = fmt.Errorf("%w: %w", errPortTaken, err)
		}
		return err
	}
	s.proc = proc
	return nil
}

// awaitReady returns when the cluster is yellow or green: it answers, and has
// recovered the primaries of all its indices.
func (s *server) awaitReady(ctx context.Context, proc *process) error {
	client, err := s.cluster().newClient()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	for {
		if s.ready(ctx, client) {
			return nil
		}
		select {
		case <-proc.done:
			return fmt.Errorf("the process ended: %v", proc.err)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *server) ready(ctx context.Context, client *http.Client) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", s.url()+"/_cluster/health?wait_for_status=yellow&timeout=5s", nil)
	if err != nil {
		return false
	}
	if user, password := s.superuser(); user != "" {
		req.SetBasicAuth(user, password)
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var health struct {
		Cluster  string `json:"cluster_name"`
		Status   string
		TimedOut bool `json:"timed_out"`
	}
	if json.NewDecoder(resp.Body).Decode(&health) != nil || resp.StatusCode != 200 {
		return false
	}
	// The name: somebody else's cluster may have taken the port.
	return health.Cluster == s.name && !health.TimedOut && health.Status != "red"
}

func (s *server) stop() error {
	return s.end(func(p *process) error {
		if err := p.signal(syscall.SIGCONT); err != nil { // one that is frozen would not hear
			return err
		}
		return p.stop(30 * time.Second)
	})
}

func (s *server) kill() error { return s.end((*process).kill) }

// end ends the process, if there is one, and tells the watchdog.
func (s *server) end(how func(*process) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return nil
	}
	if err := how(s.proc); err != nil {
		return fmt.Errorf("ending elasticsearch %s: %w", s.release.Version, err)
	}
	s.proc = nil
	return s.dog.watch(0)
}

func (s *server) close() error {
	return errors.Join(s.kill(), s.dog.end())
}

func (s *server) signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil || !s.proc.running() {
		return fmt.Errorf("elasticsearch %s does not run", s.release.Version)
	}
	return s.proc.signal(sig)
}

// reporter returns a function that writes a line to w, or nothing if w is nil.
func reporter(w io.Writer) func(string, ...any) {
	if w == nil {
		return func(string, ...any) {}
	}
	return func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// readFrom returns what stands in a file from offset on; nothing if it cannot
// be read.
func readFrom(path string, offset int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.NewSectionReader(f, offset, 1<<62-offset))
	return string(text)
}

// readEnd returns the last n bytes of a file.
func readEnd(path string, n int64) string {
	return readFrom(path, max(0, fileSize(path)-n))
}
