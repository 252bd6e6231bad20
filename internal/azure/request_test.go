package azure

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRequestInContext(t *testing.T) {
	if got := RequestFrom(t.Context()); got != (Request{}) {
		t.Errorf("a context without a request gives %+v", got)
	}
	want := Request{CorrelationID: "c", RequestID: "r", RemoteAddr: "127.0.0.1:1"}
	if diff := cmp.Diff(want, RequestFrom(WithRequest(t.Context(), want))); diff != "" {
		t.Error(diff)
	}
}

func TestCallerDisplayName(t *testing.T) {
	if got := (Caller{Name: "ada@contoso.example", AppID: "app"}).DisplayName(); got != "ada@contoso.example" {
		t.Errorf("a user is called %q", got)
	}
	if got := (Caller{AppID: "app"}).DisplayName(); got != "app" {
		t.Errorf("an application is called %q", got)
	}
}
