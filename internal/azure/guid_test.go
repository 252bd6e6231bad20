package azure

import "testing"

func TestIsGUID(t *testing.T) {
	for s, want := range map[string]bool{
		"72f988bf-86f1-41af-91ab-2d7cd011db47":          true,
		"72F988BF-86f1-41af-91ab-2d7cd011db47":          true,
		"00000000-0000-0000-0000-000000000000":          true,
		"{72f988bf-86f1-41af-91ab-2d7cd011db47}":        false,
		"urn:uuid:72f988bf-86f1-41af-91ab-2d7cd011db47": false,
		"72f988bf86f141af91ab2d7cd011db47":              false,
		"72f988bf86f141af91ab2d7cd011db470000":          false, // the length alone is right
		"72f988bf-86f1-41af-91ab-2d7cd011db4g":          false,
		"72f988bf-86f1-41af-91ab2-d7cd011db47":          false,
		"72f988bf-86f1-41af-91ab-2d7cd011db47 ":         false,
		" 72f988bf-86f1-41af-91ab-2d7cd011db4":          false,
		"":                                              false,
	} {
		if got := IsGUID(s); got != want {
			t.Errorf("IsGUID(%q) = %v", s, got)
		}
	}
}
