package replication

import (
	"bytes"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	var c comparison
	c.add(90, 100)
	c.add(50, 100)
	c.add(240, 200)
	f := c.figure("catch-up", "1 index", "documents/s")
	if f.Value != 90 || f.Plain != 100 || f.Ratio != 0.9 || f.Note != "3 rounds, ratios 0.50 to 1.20" {
		t.Errorf("%+v", f)
	}
	var b bytes.Buffer
	r := Report{Cores: 2, Machine: "some", Source: "5", Target: "8", Figures: []Figure{f, {Name: "lag", Value: 0.123, Unit: "ms"}}}
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"some, 2 cores, 5 -> 8", "catch-up  1 index  90     documents/s  100    0.90", "lag                0.12   ms"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}
