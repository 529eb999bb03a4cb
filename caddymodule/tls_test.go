package caddymodule

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A cluster whose certificate is not trusted gets nothing: the request is known
// not to have been sent.
func TestTLS(t *testing.T) {
	asked := 0
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		io.WriteString(w, "hello")
	}))
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	cluster := func(tls string) *upstream {
		u, err := newUpstream(testContext(t), &Cluster{ProxyRaw: json.RawMessage(fmt.Sprintf(
			`{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","tls":{%s}}}`, strings.TrimPrefix(s.URL, "https://"), tls))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(u.give)
		return u
	}
	_, body := send(t, cluster(fmt.Sprintf(`"ca":{"provider":"file","pem_files":[%q]}`, ca)), esapi.NewRequest("POST", "/", []byte(`{}`)))
	if body != "hello" || asked != 1 {
		t.Errorf("trusted: %q, asked %d times", body, asked)
	}
	_, err := cluster("").Send(t.Context(), esapi.NewRequest("POST", "/", []byte(`{}`)))
	if !errors.Is(err, esapi.ErrNotSent) || !strings.Contains(err.Error(), "certificate") || asked != 1 {
		t.Errorf("not trusted: %v, asked %d times", err, asked)
	}
}
