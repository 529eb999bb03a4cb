package harness

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A server is an Elasticsearch of one node.
type server struct {
	*unit
	options Options
	release release
	name    string // of the cluster; nobody else has it
	home    string // the distribution
	dataDir string
	archive []string // options for the JVM that use the class archive
	port    int      // of HTTP; 0 before the first start
	say     func(format string, args ...any)
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
	if o.TLS && len(o.Users) == 0 {
		o.Users = map[string]string{"elastic": "esperanto"}
	}
	s := &server{options: o, release: r, say: reporter(o.Progress)}
	s.name = fmt.Sprintf("esperanto-%s-%06x", cmp.Or(o.Name, strings.ReplaceAll(o.Version, ".", "-")), rand.IntN(1<<24))
	if s.home, err = distribution(ctx, r, s.say); err != nil {
		return nil, err
	}
	if s.secured() && !s.knowsSecurity() {
		return nil, errors.New("this distribution has no security: use 7.17.28 or 8.7.1 for TLS and users")
	}
	base := tempDir()
	if o.Memory {
		base = cmp.Or(memoryDir(), base)
	}
	s.unit, err = newUnit(base, "elasticsearch "+o.Version, cmp.Or(o.StartTimeout, 6*time.Minute), "config", "tmp", "logs", "repo")
	if err != nil {
		return nil, err
	}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// prepare makes what stays the same from start to start: data and certificates.
func (s *server) prepare() error {
	s.dataDir = filepath.Join(s.runDir, "data")
	if s.options.DataDir != "" {
		var err error
		if s.dataDir, err = filepath.Abs(s.options.DataDir); err != nil {
			return err
		}
		if a := unprivileged(); a != nil && !traversable(s.dataDir) {
			return fmt.Errorf("the data folder %s cannot be reached by the user %d that clusters run as: in tests, use TempDir", s.dataDir, a.uid)
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

// startForArchive starts another server of the same version, without anything
// special, to write the class archive.
func (s *server) startForArchive(ctx context.Context) (*unit, error) {
	other, err := newServer(ctx, Options{Version: s.options.Version})
	if err != nil {
		return nil, err
	}
	other.archive = writesArchive(other.runDir)
	if err := other.start(ctx); err != nil {
		return nil, errors.Join(err, other.close())
	}
	return other.unit, nil
}

func (s *server) configDir() string { return filepath.Join(s.runDir, "config") }

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

// start starts the process and returns once it answers. The first start finds
// a port; later ones use the same.
func (s *server) start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.say("starting %s ...", s.label)
	begin, first := time.Now(), s.port == 0
	var err error
	for range 5 {
		if first {
			ports, perr := freePorts(1)
			if perr != nil {
				return perr
			}
			s.port = ports[0]
		}
		if err = s.startOnce(ctx); !errors.Is(err, errPortTaken) || sleep(ctx, time.Second) != nil {
			break
		}
	}
	if err != nil {
		return s.explain(err)
	}
	s.say("%s is up at %s after %.1f s", s.label, s.url(), time.Since(begin).Seconds())
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
	if err := unprivileged().own(s.dataDir); err != nil {
		return err
	}
	c := s.cluster()
	client, err := c.Client()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	return s.unit.start(ctx, s.command(java), func(ctx context.Context) bool { return s.ready(ctx, c) })
}

// ready reports whether the cluster answers and has the primaries of all its
// indices.
func (s *server) ready(ctx context.Context, c *Cluster) bool {
	status, answer, err := c.Request(ctx, "GET", "/_cluster/health?wait_for_status=yellow&timeout=5s", "")
	var health struct {
		Cluster  string `json:"cluster_name"`
		Status   string `json:"status"`
		TimedOut bool   `json:"timed_out"`
	}
	if err != nil || status != http.StatusOK || json.Unmarshal(answer, &health) != nil {
		return false
	}
	// The name: somebody else's cluster may have taken the port.
	return health.Cluster == s.name && !health.TimedOut && health.Status != "red"
}
