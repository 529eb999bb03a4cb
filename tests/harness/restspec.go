package harness

import (
	"context"
	"path/filepath"
)

// RESTSpecVersions are those of which Elasticsearch's own REST tests can be
// had: profiles of artifacts/rest-api-spec/pom.xml.
var RESTSpecVersions = []string{"5.6.4", "6.6.0", "7.10.2"}

// RESTSpec returns the path of a jar with Elasticsearch's own REST tests: the
// specification of its API below rest-api-spec/api and the tests, in YAML,
// below rest-api-spec/test. It is downloaded if it is not in the cache.
func RESTSpec(ctx context.Context, version string, say func(string, ...any)) (string, error) {
	dir, err := cached(ctx, "rest-api-spec-"+version+"-"+fingerprint(pom("rest-api-spec")), func(dir string) error {
		say("downloading the REST tests of elasticsearch %s from Maven ...", version)
		return fetch(ctx, "rest-api-spec", version, dir)
	})
	if err != nil {
		return "", err
	}
	return theOne(filepath.Join(dir, "rest-api-spec-*.jar"))
}
