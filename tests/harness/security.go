package harness

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Files of the configuration folder.
const caFile, certFile, keyFile = "ca.pem", "http.pem", "http.key.pem"

// secured reports whether requests need a user.
func (s *server) secured() bool { return len(s.options.Users) > 0 }

// knowsSecurity reports whether the distribution has the security module;
// others refuse to start with its settings.
func (s *server) knowsSecurity() bool {
	return exists(filepath.Join(s.home, "modules", "x-pack-security"))
}

// securitySettings are lines of elasticsearch.yml. Users stand in files, for
// which the reserved realm, that otherwise owns "elastic", makes way.
func (s *server) securitySettings() map[string]string {
	if !s.secured() {
		return map[string]string{"xpack.security.enabled": "false"}
	}
	set := map[string]string{
		"xpack.security.enabled":                          "true",
		"xpack.security.authc.reserved_realm.enabled":     "false",
		"xpack.security.authc.realms.file.harness.order":  "0",
		"xpack.security.authc.token.enabled":              "false",
		"xpack.security.authc.password_hashing.algorithm": "bcrypt",
	}
	if s.options.TLS {
		set["xpack.security.http.ssl.enabled"] = "true"
		set["xpack.security.http.ssl.certificate"] = certFile
		set["xpack.security.http.ssl.key"] = keyFile
		set["xpack.security.http.ssl.certificate_authorities"] = caFile
	}
	return set
}

// superuser returns the user that the harness itself uses: elastic or, without
// one, the first by name. Both are empty without security.
func (s *server) superuser() (name, password string) {
	if password, ok := s.options.Users["elastic"]; ok {
		return "elastic", password
	}
	for _, name := range slices.Sorted(maps.Keys(s.options.Users)) {
		return name, s.options.Users[name]
	}
	return "", ""
}

// userFiles returns the files of the file realm, by name. Who has no role is a superuser.
func userFiles(users, roles map[string]string) (map[string]string, error) {
	var passwords strings.Builder
	names := slices.Sorted(maps.Keys(users))
	for _, name := range names {
		hash, err := bcrypt.GenerateFromPassword([]byte(users[name]), bcrypt.MinCost)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		fmt.Fprintf(&passwords, "%s:%s\n", name, hash)
	}
	var members, definitions strings.Builder
	for _, name := range slices.Sorted(maps.Keys(roles)) {
		fmt.Fprintf(&members, "%s:%[1]s\n", name)
		fmt.Fprintf(&definitions, "%s: %s\n", name, roles[name])
	}
	names = slices.DeleteFunc(names, func(name string) bool { return roles[name] != "" })
	fmt.Fprintf(&members, "superuser:%s\n", strings.Join(names, ","))
	return map[string]string{
		"users":       passwords.String(),
		"users_roles": members.String(),
		"roles.yml":   definitions.String(),
	}, nil
}

// makeCertificates writes an authority and a certificate for 127.0.0.1 and
// localhost that it signed, valid for a year.
func makeCertificates(dir string) error {
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "esperanto tests"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(1, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	node := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "localhost"},
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	nodeKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	nodeDER, err := x509.CreateCertificate(rand.Reader, node, ca, &nodeKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(nodeKey)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(filepath.Join(dir, caFile), "CERTIFICATE", caDER),
		writePEM(filepath.Join(dir, certFile), "CERTIFICATE", nodeDER),
		writePEM(filepath.Join(dir, keyFile), "PRIVATE KEY", keyDER),
	)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644)
}
