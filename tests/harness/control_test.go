package harness

import (
	"strings"
	"testing"
)

func TestControlLendsTheSameCluster(t *testing.T) {
	Real(t)
	control, err := NewControl(t.Output())
	if err != nil {
		t.Fatal(err)
	}
	for _, env := range control.Env() {
		name, value, _ := strings.Cut(env, "=")
		t.Setenv(name, value)
	}
	first, second := Elasticsearch(t, "5.6.16"), Elasticsearch(t, "5.6.16")
	named := Shared(t, Options{Version: "5.6.16", Name: "other"})
	if first.URL() != second.URL() || named.URL() == first.URL() {
		t.Errorf("addresses are %s, %s and, of another name, %s", first.URL(), second.URL(), named.URL())
	}
	must(t, second, "GET", "/", "")
	if !strings.Contains(first.Logs(), "started") {
		t.Error("a borrowed cluster has no log")
	}
	if err := control.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := first.Request(t.Context(), "GET", "/", ""); err == nil {
		t.Error("the cluster answers after the control server has ended")
	}
}

func TestControlErrors(t *testing.T) {
	control, err := NewControl(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, env := range control.Env() {
		name, value, _ := strings.Cut(env, "=")
		t.Setenv(name, value)
	}
	if _, err := borrow(background, "/elasticsearch", Options{Version: "1"}, nil); err == nil || !strings.Contains(err.Error(), "there are 5.6.16") {
		t.Errorf("got %v, want an error that lists the versions", err)
	}
	if err := control.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := borrow(background, "/kafka", KafkaOptions{}, nil); err == nil || !strings.Contains(err.Error(), ClustersEnv) {
		t.Errorf("got %v, want an error that names %s", err, ClustersEnv)
	}
}
