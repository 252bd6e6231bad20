package cluster_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/lanyard-id/lanyard/internal/channel"
)

// TestFloodsOfReports: each report is a write to the store that all tenants share,
// and a stolen token may name any component.
func TestFloodsOfReports(t *testing.T) {
	w := newWorld(t)
	key := signers[0]()
	c := w.attached("east", key)
	const tries = 400
	stolen, taken := w.token(c, key), 0
	for i := range tries {
		switch a := w.report(c, stolen, channel.Report{Component: fmt.Sprint("c", i)}); {
		case a.Status == http.StatusOK:
			taken++
		case a.Status != http.StatusTooManyRequests || a.ErrorCode() != "TooManyReports":
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	if taken > tries/4 {
		t.Errorf("of %d reports of one pod %d were taken", tries, taken)
	}
	// The others of the cluster are not kept from reporting by it.
	w.report(c, w.fromPod(c, key, "honest"), channel.Report{Component: "webhook"}).Want(t, http.StatusOK)
}
