package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPeek(t *testing.T) {
	s := open(t)
	put(t, s, "k/a", "1", "k/b", "2", "k/c", "3", "l", "4")
	runs := 0
	_, err := s.Update(t.Context(), func(tx *Tx) error {
		runs++
		keys, more, err := tx.Peek("k/", 2)
		if diff := cmp.Diff([]string{"k/a", "k/b"}, keys); err != nil || !more || diff != "" {
			t.Errorf("the first two, more %v, %v:\n%s", more, err, diff)
		}
		tx.Delete("k/a")
		keys, more, err = tx.Peek("k/", 5)
		if diff := cmp.Diff([]string{"k/b", "k/c"}, keys); err != nil || more || diff != "" {
			t.Errorf("all but the deleted one, more %v, %v:\n%s", more, err, diff)
		}
		if runs == 1 {
			put(t, s, "k/d", "5") // nothing depends on it
		}
		return nil
	})
	if err != nil || runs != 1 {
		t.Errorf("%d runs, %v", runs, err)
	}
}
