package harness

import (
	"context"
	"encoding/xml"
	"slices"
	"strings"
	"testing"
)

type project struct {
	Profiles []struct {
		ID   string   `xml:"id"`
		Jars []string `xml:"dependencies>dependency>artifactId"`
	} `xml:"profiles>profile"`
}

func readPOM(t *testing.T, product string) project {
	t.Helper()
	text, err := artifacts.ReadFile("artifacts/" + product + "/pom.xml")
	if err != nil {
		t.Fatal(err)
	}
	var p project
	if err := xml.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryReleaseHasItsArtifacts(t *testing.T) {
	jars := map[string][]string{}
	for _, profile := range readPOM(t, "elasticsearch").Profiles {
		jars[profile.ID] = profile.Jars
	}
	for _, r := range releases {
		listed, ok := jars[r.Version]
		if !ok {
			t.Errorf("%s has no profile in the pom", r.Version)
		}
		for _, m := range r.Modules {
			for _, id := range strings.Fields(m.Jars) {
				if !slices.Contains(listed, id) {
					t.Errorf("%s: module %s wants %s, which the profile does not list", r.Version, m.Name, id)
				}
			}
		}
		delete(jars, r.Version)
	}
	for version := range jars {
		t.Errorf("the pom has a profile %s that no release uses", version)
	}
	kafka := readPOM(t, "kafka").Profiles
	if len(kafka) != 1 || kafka[0].ID != KafkaVersion {
		t.Errorf("the pom of Kafka has the profiles %v, want %s", kafka, KafkaVersion)
	}
}

func TestUnknownVersion(t *testing.T) {
	_, err := StartElasticsearch(context.Background(), Options{Version: "5.6"})
	if err == nil || !strings.Contains(err.Error(), "5.6.16, 6.8.23") {
		t.Errorf("got %v, want an error that lists the versions", err)
	}
}
