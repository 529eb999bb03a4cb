package caddymodule

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/replicate"
)

func TestIndicesInAConfiguration(t *testing.T) {
	a, b := newElasticsearch(t, 5, 6), newElasticsearch(t, 8, 7)
	p := newProcess(t)
	options := "indices {\ninclude logs-* books\nexclude logs-debug-*\nrename logs-* {{leader_index}}-copy\n}"
	p.mustLoad(two(a, b, options), "")
	for _, index := range []string{"logs-1", "logs-debug-1", "books", "other"} {
		if code, answer := p.ask("PUT", "/"+index+"/doc/1", `{"n":1}`); code != 201 {
			t.Fatalf("%d %s", code, answer)
		}
	}
	p.waitApplied()
	if got := b.Indices(); !slices.Equal(got, []string{"books", "logs-1-copy"}) {
		t.Errorf("indices %v", got)
	}
	if code, answer := p.tell("POST", "/esperanto/switchover", `{"master":"b","dry_run":true}`); code != 409 || !strings.Contains(answer, "rename in indices") {
		t.Errorf("%d %s", code, answer)
	}
	if _, status := p.tell("GET", "/esperanto/status", ""); !strings.Contains(status, `"indices":{"include":["logs-*","books"],"exclude":["logs-debug-*"],"rename":[{"pattern":"logs-*","name":"{{leader_index}}-copy"}]}`) {
		t.Error(status)
	}
	if _, metrics := p.tell("GET", "/metrics", ""); !strings.Contains(metrics, `esperanto_effects_left_out_total{gateway="default"} 2`) {
		t.Error("the effects that were left out are not counted")
	}
	p.mustLoad(two(a, b, options+"\nmax_body 2MB"), "")
	for _, other := range []string{"", "indices {\nexclude other\n}"} {
		if err := p.load(two(a, b, other), ""); err == nil || !strings.Contains(err.Error(), "indices of a gateway that runs cannot be changed by a reload") {
			t.Errorf("%v", err)
		}
	}
	if code, answer := p.ask("PUT", "/books/doc/2", `{"n":1}`); code != 201 {
		t.Errorf("%d %s", code, answer)
	}
}

func TestPrintIndices(t *testing.T) {
	var out bytes.Buffer
	printIndices(&out, &replicate.Status{})
	printIndices(&out, &replicate.Status{Indices: &replicate.Indices{Include: []string{"a", "b*"}, Rename: []replicate.Rename{{Pattern: "b*", Name: "x{{leader_index}}"}}}})
	if want := "  only these indices are replicated: a b*\n  b* is called x{{leader_index}} at the follower\n"; out.String() != want {
		t.Errorf("%s", out.String())
	}
}
