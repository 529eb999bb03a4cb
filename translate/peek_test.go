package translate

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

func TestPeekPutsTheBodyBack(t *testing.T) {
	broken := errors.New("broken off")
	for _, test := range []struct {
		name, body string
		end        error
		whole      bool
	}{
		{"small", "abc", nil, true},
		{"as large as may be", "abcd", nil, true},
		{"too large", "abcdefgh", nil, false},
		{"broken off", "ab", broken, false},
	} {
		var from io.Reader = strings.NewReader(test.body)
		if test.end != nil {
			from = io.MultiReader(from, brokenReader{test.end})
		}
		a := &esapi.Response{Body: io.NopCloser(from)}
		for range 2 { // the second time it is held already
			if _, whole := peek(a, 4); whole != test.whole {
				t.Errorf("%s: whole is %v", test.name, whole)
			}
		}
		got, err := io.ReadAll(a.Body)
		if string(got) != test.body || !errors.Is(err, test.end) {
			t.Errorf("%s: afterwards the body reads as %q, %v", test.name, got, err)
		}
	}
}

func TestCrossingChangesLeaveEqualVersionsAlone(t *testing.T) {
	own := Direction{Fidelity: Exact}
	gateway, crossing := &Change{OldClient: own}, &Change{OldClient: own, Crossing: true}
	a, b, other := V(7, 17), Version{Major: 7, Minor: 17, Patch: 28}, V(7, 10)
	if gateway.Between(a, b) == nil || crossing.Between(a, b) != nil {
		t.Error("patches of one minor: only a change that is not Crossing belongs to the plan")
	}
	if gateway.Between(a, other) == nil || crossing.Between(a, other) == nil {
		t.Error("two minors: both belong to the plan")
	}
}
