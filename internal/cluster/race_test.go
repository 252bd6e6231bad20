package cluster

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/http"
	"testing"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

// TestReportRaces: an agent that was proved a moment ago reports nothing for a
// cluster that has ended, or trusts others, since then.
func TestReportRaces(t *testing.T) {
	w := cloudtest.New(t, cloudtest.Config{})
	c, err := Open(context.Background(), Config{Store: w.Store, Audit: w.Audit, Cloud: w.Azure, Now: w.Clock.Now, Logger: w.Logger})
	cloudtest.Must(t, err)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	cloudtest.Must(t, err)
	public, err := token.NewVerificationKey(private.Public())
	cloudtest.Must(t, err)
	keys, err := token.EncodeKeySet([]token.VerificationKey{public})
	cloudtest.Must(t, err)
	const subject, other = "system:serviceaccount:a:b", "system:serviceaccount:a:c"
	enroll := func(made Cluster, issuer, subject string) {
		w.Update(func(tx *store.Tx) error {
			e := Enrolment{Issuer: issuer, AgentSubjects: []string{subject}}
			if issuer != "https://self.example" {
				e.Keys = keys
			}
			_, err := c.Enroll(tx, made.ID, made.ResourceID, e)
			return err
		})
	}
	for name, change := range map[string]func(made Cluster){
		"ended": func(made Cluster) {
			w.Update(func(tx *store.Tx) error { return c.Delete(tx, made.ID, made.ResourceID) })
		},
		"other agents":   func(made Cluster) { enroll(made, made.IssuerURL, other) },
		"another issuer": func(made Cluster) { enroll(made, "https://self.example", subject) },
		"issuer disabled": func(made Cluster) {
			made.IssuerEnabled = false
			w.Update(func(tx *store.Tx) error { _, err := c.Put(tx, made); return err })
		},
	} {
		t.Run(name, func(t *testing.T) {
			var made Cluster
			w.Update(func(tx *store.Tx) (err error) {
				made, err = c.Put(tx, Cluster{TenantID: cloudtest.TenantID, IssuerEnabled: true, SelfHostedIssuerURL: "https://self.example", ResourceID: name})
				return err
			})
			enroll(made, made.IssuerURL, subject)
			proved, _ := c.entry(made.ID)
			change(made)
			err := c.takeReport(t.Context(), agent{cluster: proved, subject: subject, pod: "p"}, channel.Report{Component: "webhook"})
			if e, ok := errors.AsType[*azure.Error](err); !ok || e.Status != http.StatusForbidden {
				t.Errorf("the report was answered with %v", err)
			}
			if left := w.Entries("clusters/report/" + made.ID); len(left) != 0 {
				t.Errorf("kept: %v", left)
			}
		})
	}
}
