//go:build !race

package runtime_test // the race detector allocates as well

import "testing"

// TestAllocations holds a call to 60 allocations above the app's own, and to 120 with the JSON of both ways.
func TestAllocations(t *testing.T) {
	ctx, cancel := benchContext()
	defer cancel()
	count := map[string]float64{}
	for name, call := range calls() {
		count[name] = testing.AllocsPerRun(500, func() {
			if err := call(ctx); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Logf("allocations a call: %v", count)
	for name, limit := range map[string]float64{"typed": 60, "json": 120} {
		if got := count[name] - count["handler"]; got > limit {
			t.Errorf("%s: got %v allocations above the handler's, want at most %v", name, got, limit)
		}
	}
}
