package harness

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"time"
)

// Client returns an HTTP client that trusts the cluster's certificate and
// gives up after a minute. It adds no credentials.
func (c *Cluster) Client() (*http.Client, error) {
	c.once.Do(func() { c.client, c.clientErr = c.newClient() })
	return c.client, c.clientErr
}

func (c *Cluster) newClient() (*http.Client, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: 32}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return &http.Client{Transport: transport, Timeout: time.Minute}, nil
}

// Request sends a request with the cluster's credentials and returns status
// and body of the answer. A body is sent as JSON, or as lines of JSON to
// _bulk and _msearch.
func (c *Cluster) Request(ctx context.Context, method, path, body string) (status int, answer []byte, err error) {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, r)
	if err != nil {
		return 0, nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", contentType(path))
	}
	if c.Username != "" {
		req.SetBasicAuth(c.Username, c.Password)
	}
	client, err := c.Client()
	if err != nil {
		return 0, nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("elasticsearch %s: %w", c.Version, err)
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(resp.Body); err != nil {
		return 0, nil, fmt.Errorf("elasticsearch %s: %s %s: %w", c.Version, method, path, err)
	}
	return resp.StatusCode, answer, nil
}

func contentType(path string) string {
	path, _, _ = strings.Cut(path, "?")
	for _, lines := range []string{"/_bulk", "/_msearch", "/_msearch/template"} {
		if strings.HasSuffix(path, lines) {
			return "application/x-ndjson"
		}
	}
	return "application/json"
}
