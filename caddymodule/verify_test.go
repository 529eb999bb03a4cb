package caddymodule

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/replicate"
)

func verification(t *testing.T, state replicate.JobState, p replicate.VerifyProgress) replicate.Job {
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return replicate.Job{Kind: replicate.JobVerify, State: state, Progress: raw, Options: json.RawMessage(`{"repair":false}`)}
}

func TestVerifyVerdict(t *testing.T) {
	for _, c := range []struct {
		name   string
		job    replicate.Job
		status int
		says   string
	}{
		{"equal", verification(t, replicate.JobDone, replicate.VerifyProgress{Documents: 5}), 0, ""},
		{"repaired", verification(t, replicate.JobDone, replicate.VerifyProgress{Mismatches: 2, Repaired: 2}), 0, ""},
		{"different", verification(t, replicate.JobDone, replicate.VerifyProgress{Mismatches: 2, Left: 2, Unsure: 1}), 1, "2 mismatches are not repaired"},
		{"unsure", verification(t, replicate.JobDone, replicate.VerifyProgress{Unsure: 3}), 2, "3 documents changed whenever"},
		{"failed", replicate.Job{State: replicate.JobFailed, Error: "the applier is paused"}, 2, "failed: the applier is paused"},
		{"cancelled", verification(t, replicate.JobCancelled, replicate.VerifyProgress{Left: 1}), 2, "cancelled"},
		{"none", replicate.Job{State: "none"}, 2, "there was no verification yet"},
	} {
		status, err := verifyVerdict(c.job)
		if status != c.status || (err == nil) != (c.status == 0) || (err != nil && !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %d, %v", c.name, status, err)
		}
	}
}

func TestVerifyIsPrinted(t *testing.T) {
	j := verification(t, replicate.JobDone, replicate.VerifyProgress{Documents: 70, IndicesDone: 2, LookedAgain: 3, Missing: 1, State: 1, Mismatches: 2, Repaired: 1, Left: 1,
		NotCompared: []string{"documents of old: the index is closed"},
		Samples: []replicate.Mismatch{{What: "document", Kind: "missing", Index: "books", ID: "7", Why: "the master has version 2", Repaired: true},
			{What: "alias", Kind: "extra", Index: "books", Name: "read", Why: "the master's index does not have the alias"}}})
	var out bytes.Buffer
	if err := printVerify(&out, j); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"70 documents of 2 indices compared, 3 of them one by one", "1 missing, 0 extra, 0 different", "1 repaired, 1 left",
		"books/7", "the master has version 2", "repaired", "books/read", "not compared: documents of old"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if steps := withVerifySteps(j).NextSteps; len(steps) != 1 || !strings.Contains(steps[0], `{"repair":true}`) {
		t.Errorf("%q", steps)
	}
	out.Reset()
	printVerifyState(&out, &j)
	if !strings.Contains(out.String(), "verify done: 70 of 70 documents, 2 mismatches, 1 repaired, 1 left") {
		t.Errorf("%s", out.String())
	}
	if shown := withoutSamples(j); strings.Contains(string(shown.Progress), "samples") || !strings.Contains(string(shown.Progress), `"documents":70`) {
		t.Errorf("%s", shown.Progress)
	}
}
