package measure

import "testing"

func TestQuantile(t *testing.T) {
	all := make([]float64, 200)
	for i := range all {
		all[len(all)-1-i] = float64(i + 1)
	}
	for q, want := range map[float64]float64{0: 1, 0.5: 100, 0.99: 198, 1: 200} {
		if got := Quantile(all, q); got != want {
			t.Errorf("%v: %v", q, got)
		}
	}
	if Quantile(nil, 0.5) != 0 {
		t.Error("of nothing")
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0.123: "0.12", 12.34: "12.3", 1234.5: "1234", 7: "7", -0.5: "-0.50"} {
		if got := Number(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}
