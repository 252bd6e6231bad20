package lanyardtest_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/lanyard-id/lanyard/lanyardtest"
)

// TestFederation: a service account is an identity where that trusts it, and
// nowhere else.
func TestFederation(t *testing.T) {
	t.Parallel()
	cloud := lanyardtest.New(t)
	cluster, other := cloud.Issuer(t, "cluster"), cloud.Issuer(t, "another cluster")
	reader, stranger := cloud.Identity(t, "reader"), cloud.Identity(t, "stranger")
	cloud.Federate(t, reader, cluster, "system:serviceaccount:shop:reader")
	for name, test := range map[string]struct {
		credential azcore.TokenCredential
		code       string
	}{
		"trusted":             {reader.WorkloadCredential(cluster, "shop", "reader"), ""},
		"another identity":    {stranger.WorkloadCredential(cluster, "shop", "reader"), "AADSTS70025"},
		"another name":        {reader.WorkloadCredential(cluster, "shop", "stranger"), "AADSTS700213"},
		"another namespace":   {reader.WorkloadCredential(cluster, "stop", "reader"), "AADSTS700213"},
		"another cluster":     {reader.WorkloadCredential(other, "shop", "reader"), "AADSTS700211"},
		"another audience":    {reader.WorkloadCredential(cluster, "shop", "reader", lanyardtest.WithAudience("vault")), "AADSTS700212"},
		"a token that is out": {reader.WorkloadCredential(cluster, "shop", "reader", lanyardtest.WithLifetime(time.Second-time.Hour)), "AADSTS700024"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := test.credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}})
			if test.code == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			refused(t, err, http.StatusUnauthorized, test.code)
			if why := cloud.Why(t, err); why.Kind != "token" || why.Result != "refused" {
				t.Errorf("why: %+v", why)
			}
		})
	}
}

// TestServiceAccountTokens: a token lasts an hour of the cloud's time.
func TestServiceAccountTokens(t *testing.T) {
	t.Parallel()
	cloud := lanyardtest.New(t)
	issuer := cloud.Issuer(t, "cluster")
	dir := newT()
	file := issuer.ServiceAccountTokenFile(dir, "shop", "reader")
	raw, err := os.ReadFile(file)
	if err != nil || strings.Count(string(raw), ".") != 2 {
		t.Errorf("the file holds %q, %v", raw, err)
	}
	dir.finish()
	if _, err := os.Stat(file); err == nil {
		t.Error("the token outlived its test")
	}
	if again := issuer.ServiceAccountToken(t, "shop", "reader", lanyardtest.WithLifetime(time.Minute)); again == string(raw) {
		t.Error("the lifetime makes no difference")
	}
}
