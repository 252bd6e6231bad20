package controller

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// linked is a webhook with a channel, whose cloud knows credentials.
func (c *fakeCloud) linked(tb testing.TB, api *fakeAPI, credentials ...channel.Credential) WebhookConfig {
	tb.Helper()
	config := c.config(tb, api)
	token := filepath.Join(tb.TempDir(), "token")
	writeFile(tb, token, []byte("the.agent.token"))
	config.Channel = &ChannelConfig{Endpoint: "https://agents.lanyard.example:8443", ClusterID: testClusterID, TokenFile: token}
	config.Version = "v1.2.3"
	c.lines = []channel.Change{
		{Kind: channel.KindReset, History: "h"},
		{Kind: channel.KindCluster, Cluster: &channel.Cluster{ID: testClusterID, TenantID: tenantID, IssuerURL: "https://oidc.lanyard.example/t/c/"}},
	}
	for i, credential := range credentials {
		credential.ID = fmt.Sprint(i)
		c.lines = append(c.lines, channel.Change{Kind: channel.KindCredential, Credential: &credential})
	}
	c.lines = append(c.lines, channel.Change{Kind: channel.KindSynced, Revision: 1})
	return config
}

// TestWarningsOfTheCloud: what the cloud knows becomes warnings, never a denial.
func TestWarningsOfTheCloud(t *testing.T) {
	credential := func(change func(*channel.Credential)) channel.Credential {
		c := channel.Credential{ClientID: strings.ToUpper(clientID), TenantID: tenantID, Subject: "system:serviceaccount:ns:app", Audiences: []string{workloadidentity.DefaultAudience}}
		change(&c)
		return c
	}
	same := func(*channel.Credential) {}
	for _, tt := range []struct {
		name        string
		credentials []channel.Credential
		warned      string // in the first warning
	}{
		{"none", nil, "client " + clientID + " is unknown"},
		{"another client's", []channel.Credential{credential(func(c *channel.Credential) { c.ClientID = testClusterID })}, "client " + clientID + " is unknown"},
		{"it", []channel.Credential{credential(same)}, ""},
		{"another namespace's", []channel.Credential{credential(func(c *channel.Credential) { c.Subject = "system:serviceaccount:other:app" })}, "has the subject system:serviceaccount:ns:app"},
		{"in another case", []channel.Credential{credential(func(c *channel.Credential) { c.Subject = "system:serviceaccount:ns:App" })}, "has the subject system:serviceaccount:ns:app"},
		{"for another audience", []channel.Credential{credential(func(c *channel.Credential) { c.Audiences = []string{"api://other"} })}, "another audience"},
		{"one of two", []channel.Credential{credential(func(c *channel.Credential) { c.Audiences = []string{"api://other"} }), credential(same)}, ""},
		{"an expression", []channel.Credential{credential(func(c *channel.Credential) { c.Subject, c.Flexible = "", true })}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cloud, api := newFakeCloud(t), cluster(t)
			w := start(t, api, cloud.linked(t, api, tt.credentials...), cloud.reach)
			eventually(t, func() error {
				if w.link.federation() == nil {
					return fmt.Errorf("the cloud is not followed")
				}
				return nil
			})
			got := w.post(t, review("app", 1))
			if !got.Allowed || (tt.warned == "") != (len(got.Warnings) == 0) || (tt.warned != "" && !strings.Contains(got.Warnings[0], tt.warned)) {
				t.Errorf("%v %q, want %q", got.Allowed, got.Warnings, tt.warned)
			}
		})
	}
}

// TestNothingFollowsFromSilence: what the cloud said before it was lost may be
// other by now.
func TestNothingFollowsFromSilence(t *testing.T) {
	cloud, api := newFakeCloud(t), cluster(t)
	config := cloud.linked(t, api)
	lines := cloud.lines
	cloud.lines = nil // a stream that brings nothing
	w := start(t, api, config, cloud.reach)
	if got := w.post(t, review("app", 1)); !got.Allowed || len(got.Warnings) > 0 {
		t.Errorf("before the cloud has spoken: %+v", got)
	}
	cloud.mu.Lock()
	cloud.lines = lines
	cloud.mu.Unlock()
	cloud.CloseClientConnections()
	followed := func(want bool) func() error {
		return func() error {
			if got := w.link.federation() != nil; got != want {
				return fmt.Errorf("followed: %v", got)
			}
			return nil
		}
	}
	eventually(t, followed(true))
	if got := w.post(t, review("app", 1)); !got.Allowed || len(got.Warnings) == 0 {
		t.Errorf("%+v", got)
	}
	cloud.mu.Lock()
	cloud.lines = nil
	cloud.mu.Unlock()
	cloud.CloseClientConnections()
	eventually(t, followed(false))
	if got := w.post(t, review("app", 1)); !got.Allowed || len(got.Warnings) > 0 {
		t.Errorf("while the cloud is away: %+v", got)
	}
}

// TestReports: the cloud hears of the API server's issuer and keys, of versions,
// nodes and pods; again when one of them changes, and when it was away.
func TestReports(t *testing.T) {
	cloud, api := newFakeCloud(t), cluster(t)
	document := func(path string, content any) {
		api.put(path, map[string]any{"kind": "document", "document": content, "metadata": map[string]any{}})
	}
	document("/.well-known/openid-configuration", map[string]any{"issuer": "https://oidc.lanyard.example/t/c/"})
	document("/openid/v1/jwks", map[string]any{"keys": []any{map[string]any{"kid": "one"}}})
	for _, name := range []string{"a", "b", "c"} {
		api.put("/api/v1/nodes/"+name, map[string]any{"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": name}})
	}
	config := cloud.linked(t, api)
	config.Detect = true
	start(t, api, config, cloud.reach, func(w *Webhook) { w.reporter.every, w.reporter.pause = 5*time.Millisecond, 0 })
	want := channel.Report{
		Component: "webhook", AgentVersion: "v1.2.3", KubernetesVersion: "v1.37.2", NodeCount: 3,
		Issuer: "https://oidc.lanyard.example/t/c/", Keys: []byte(`{"keys":[{"kid":"one"}]}`), Unmutated: &[]channel.UnmutatedPod{},
	}
	reported := func(what string) {
		t.Helper()
		deadline := time.After(time.Minute)
		var diff string
		for {
			select {
			case got := <-cloud.reports:
				if diff = cmp.Diff(want, got); diff == "" {
					return
				}
			case <-deadline:
				t.Fatalf("%s is not reported (-want +got):\n%s", what, diff)
			}
		}
	}
	reported("the cluster")
	document("/openid/v1/jwks", map[string]any{"keys": []any{map[string]any{"kid": "one"}, map[string]any{"kid": "two"}}})
	want.Keys = []byte(`{"keys":[{"kid":"one"},{"kid":"two"}]}`)
	reported("a new key")
	api.put("/api/v1/namespaces/ns/pods/bare", testPod("ns", "bare", nil))
	want.Unmutated = &[]channel.UnmutatedPod{{Namespace: "ns", Name: "bare", UID: "uid-bare"}}
	reported("an unmutated pod")
	cloud.CloseClientConnections()
	reported("all of it after the cloud was away")
	// What cannot be read is not reported, and nothing else is kept back by it.
	api.setFail("/openid/v1/jwks", 403)
	api.setFail("/api/v1/nodes", 403)
	want.Issuer, want.Keys = "", nil
	reported("what is left without keys")
}

// TestAuthorityOfTheChannel: the channel takes another authority too.
func TestAuthorityOfTheChannel(t *testing.T) {
	cloud, api := newFakeCloud(t), cluster(t)
	config := cloud.linked(t, api)
	w := start(t, api, config, cloud.reach)
	former := w.link.client.Load()
	writeFile(t, config.AuthorityFile, newCA(t, "Another CA").pem)
	w.authority.again(t.Context())
	eventually(t, func() error {
		if w.link.client.Load() == former {
			return fmt.Errorf("the same client")
		}
		return nil
	})
	if w.link.federation() != nil {
		t.Error("what a cloud of the former authority said is believed")
	}
}

func TestChannelIsRefused(t *testing.T) {
	cloud := newFakeCloud(t)
	for want, change := range map[string]func(*ChannelConfig){
		"https://HOST":      func(c *ChannelConfig) { c.Endpoint = "http://agents.lanyard.example" },
		"not a GUID":        func(c *ChannelConfig) { c.ClusterID = "a/b" },
		"token file is not": func(c *ChannelConfig) { c.TokenFile = "" },
	} {
		config := cloud.linked(t, newFakeAPI(t))
		change(config.Channel)
		if _, err := NewWebhook(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
