package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// ClustersEnv names the address of the control server that lends shared
// clusters to the tests of a run. The command clusters sets it.
const ClustersEnv = "ESPERANTO_CLUSTERS"

// A Control lends shared clusters to other processes on this machine, so that
// all packages of a test run use the same.
type Control struct {
	pool   *pool
	server *http.Server
	url    string
	done   chan struct{} // closed when the server has ended
}

// NewControl starts a control server on a port of 127.0.0.1. Clusters start
// when they are asked for first. A line about each goes to progress.
func NewControl(progress io.Writer) (*Control, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the control server: %w", err)
	}
	c := &Control{pool: newPool(progress), url: "http://" + l.Addr().String(), done: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /elasticsearch", lend(func(ctx context.Context, o Options) (lease, error) {
		s, err := c.pool.elasticsearch(ctx, o)
		if err != nil {
			return lease{}, err
		}
		return s.lease(), nil
	}))
	mux.HandleFunc("POST /kafka", lend(func(ctx context.Context, o KafkaOptions) (lease, error) {
		k, err := c.pool.kafkaCluster(ctx, o)
		if err != nil {
			return lease{}, err
		}
		return k.lease(), nil
	}))
	c.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { // ends with Close
		defer close(c.done)
		c.server.Serve(l)
	}()
	return c, nil
}

// Env returns the environment variables that make the tests of a child process
// use this server.
func (c *Control) Env() []string {
	return []string{ClustersEnv + "=" + c.url, RealEnv + "=1"}
}

// Close ends the server and all clusters that it started.
func (c *Control) Close() error {
	err := c.server.Close()
	<-c.done
	return errors.Join(err, c.pool.close())
}

// A lease is what another process has to know of a shared cluster.
type lease struct {
	Version  string   `json:",omitempty"`
	URL      string   `json:",omitempty"`
	Username string   `json:",omitempty"`
	Password string   `json:",omitempty"`
	CAFile   string   `json:",omitempty"`
	Addrs    []string `json:",omitempty"`
	Logs     []string
}

func (c *Cluster) lease() lease {
	return lease{Version: c.Version, URL: c.url, Username: c.Username, Password: c.Password, CAFile: c.CAFile, Logs: []string{c.log}}
}

func (l lease) cluster() *Cluster {
	return &Cluster{Version: l.Version, url: l.URL, Username: l.Username, Password: l.Password, CAFile: l.CAFile, log: l.Logs[0]}
}

func (k *KafkaCluster) lease() lease { return lease{Addrs: k.addrs, Logs: k.logs} }

func (l lease) kafka() *KafkaCluster { return &KafkaCluster{addrs: l.Addrs, logs: l.Logs} }

// lend answers a request for a cluster: options in, lease or the error's text out.
func lend[O any](get func(context.Context, O) (lease, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var options O
		if err := json.NewDecoder(r.Body).Decode(&options); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		l, err := get(r.Context(), options)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		json.NewEncoder(w).Encode(l)
	}
}

// borrow asks the control server of this run for a cluster. Without one, a
// pool of this process lends it; those clusters end with the process.
func borrow(ctx context.Context, path string, options any, local func() (lease, error)) (lease, error) {
	control := os.Getenv(ClustersEnv)
	if control == "" {
		return local()
	}
	body, err := json.Marshal(options)
	if err != nil {
		return lease{}, err
	}
	req, err := http.NewRequestWithContext(ctx, "POST", control+path, bytes.NewReader(body))
	if err != nil {
		return lease{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return lease{}, fmt.Errorf("the control server that %s names does not answer: %w; start tests with the command clusters exec", ClustersEnv, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return lease{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return lease{}, errors.New(string(bytes.TrimSpace(answer)))
	}
	var l lease
	return l, json.Unmarshal(answer, &l)
}
