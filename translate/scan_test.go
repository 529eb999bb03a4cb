package translate

import (
	"math/rand/v2"
	"testing"
)

// A string ends at its first quote that is not escaped, wherever in it escapes
// are and however long it is.
func TestStringEnd(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		b := []byte(`{"`)
		for range random.IntN(40) {
			b = append(b, `aaa\"`[random.IntN(5)])
		}
		want := -1
		for i := 2; i < len(b) && want < 0; i++ {
			switch b[i] {
			case '\\':
				i++
			case '"':
				want = i + 1
			}
		}
		if end, err := stringEnd(b, 1); want < 0 && err != errShort || want >= 0 && end != want {
			t.Fatalf("%s ends at %d (%v), want %d", b, end, err, want)
		}
	}
}
