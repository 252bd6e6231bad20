package azure

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestError(t *testing.T) {
	err := Errorf(403, "Forbidden", "Caller is not authorized: %s", "x")
	if err.Status != 403 || err.Error() != "Forbidden: Caller is not authorized: x" {
		t.Errorf("got %d %q", err.Status, err)
	}
	err.InnerCode = "ForbiddenByRbac"
	if got, want := err.Error(), "Forbidden (ForbiddenByRbac): Caller is not authorized: x"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	err.Err = io.ErrUnexpectedEOF
	if !errors.Is(fmt.Errorf("doing x: %w", err), io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
	if found, ok := errors.AsType[*Error](fmt.Errorf("doing x: %w", err)); !ok || found != err {
		t.Error("a wrapped Error is not found again")
	}
}
