package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lanyard-id/lanyard/internal/attach"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/server"
)

// runFor is a run against a cloud that listens on an address.
func runFor(t *testing.T, listen, domain string) *attachRun {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte("the authority"), 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := azure.ParseResourceID("/subscriptions/s/resourceGroups/g/providers/Microsoft.Kubernetes/connectedClusters/shop")
	if err != nil {
		t.Fatal(err)
	}
	env := server.Environment{Listen: listen, Domain: domain, CAFile: ca, TenantID: "t"}
	env.Endpoints.ResourceManager = "https://management." + domain
	return &attachRun{attachFlags: &attachFlags{}, arm: &armClient{env: env}, id: id}
}

// lanyardValues are the values of the cloud that a run comes to.
func lanyardValues(t *testing.T, r *attachRun) (map[string]any, error) {
	t.Helper()
	var err error
	if r.attachment, err = r.attachmentOf(); err != nil {
		t.Fatal(err)
	}
	own, err := r.ownValues()
	if err != nil {
		return nil, err
	}
	all := attach.MergeValues(own, r.attachment.Values)
	return all["lanyard"].(map[string]any), nil
}

func TestAttachAddress(t *testing.T) {
	for _, c := range []struct {
		listen, domain, address string
		authority               []string
		want, refused           string
	}{
		{listen: "10.0.0.5:443", domain: "cloud.example", want: "10.0.0.5"},
		{listen: "0.0.0.0:443", domain: "cloud.example", want: ""},
		{listen: "127.0.0.1:443", domain: "cloud.example", refused: "pods cannot reach the cloud, which listens on 127.0.0.1:443"},
		{listen: "0.0.0.0:443", domain: "lanyard.localhost", refused: "pods cannot resolve the cloud's names below localhost"},
		{listen: "10.0.0.5:8443", domain: "cloud.example", refused: "pods ask the token service at port 443, and the cloud listens on port 8443"},
		{listen: "10.0.0.5:8443", domain: "cloud.example", address: "10.0.0.9", want: "10.0.0.9"},
		{listen: "10.0.0.5:8443", domain: "cloud.example", authority: []string{"own-host"}, want: "10.0.0.5"},
		{listen: "10.0.0.5:443", domain: "cloud.example", address: "dns", want: ""},
		{listen: "127.0.0.1:443", domain: "lanyard.localhost", address: "10.0.0.9", want: "10.0.0.9"},
	} {
		r := runFor(t, c.listen, c.domain)
		r.address, r.authority = c.address, c.authority
		values, err := lanyardValues(t, r)
		switch {
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("%+v: %v", c, err)
		case c.refused == "" && err != nil:
			t.Errorf("%+v: %v", c, err)
		case c.refused == "" && values["address"] != c.want:
			t.Errorf("%+v: address %v", c, values["address"])
		}
	}
}

// TestAttachValues: what was given before stays, what is given now wins, and what
// attach knows itself is beneath both.
func TestAttachValues(t *testing.T) {
	r := runFor(t, "10.0.0.5:443", "cloud.example")
	r.before = &attach.Attachment{Namespace: "azwi", Values: map[string]any{
		"replicaCount": 3, "lanyard": map[string]any{"hosts": []any{"a"}, "address": "10.0.0.8"},
	}}
	r.settings, r.hosts, r.authority = []string{"logLevel=debug"}, []string{"b"}, []string{"own-host", "alias"}
	r.image = "registry.example:5000/agent:v1@sha256:" + strings.Repeat("0", 64)
	values, err := lanyardValues(t, r)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"caBundle": "the authority", "agentsURL": "https://agents.cloud.example", "clusterID": "00000000-0000-0000-0000-000000000000",
		"authorityHost": "https://login.cloud.example/", "address": "10.0.0.8", "hosts": []any{"b"}, "authority": []any{"own-host", "alias"},
	}
	if d := cmp.Diff(want, values); d != "" {
		t.Errorf("values of the cloud (-want +got):\n%s", d)
	}
	given := r.attachment.Values
	if given["replicaCount"] != 3 || given["logLevel"] != "debug" || r.attachment.Namespace != "azwi" {
		t.Errorf("attachment %+v", r.attachment)
	}
	if d := cmp.Diff(map[string]any{"repository": "registry.example:5000/agent", "release": "v1", "digest": "sha256:" + strings.Repeat("0", 64)}, given["image"]); d != "" {
		t.Errorf("image (-want +got):\n%s", d)
	}
	r.reset = true
	if r.attachment, err = r.attachmentOf(); err != nil || r.attachment.Values["replicaCount"] != nil {
		t.Errorf("after --reset-values: %+v, %v", r.attachment, err)
	}
	r.namespace = "other"
	if _, err := r.attachmentOf(); err == nil || !strings.Contains(err.Error(), "it moves by `lanyard detach`") {
		t.Errorf("another namespace: %v", err)
	}
	for _, image := range []string{"", ":tag", "@sha256:0", "name:", "name@", "registry.example/"} {
		if _, err := imageValues(image); err == nil {
			t.Errorf("image %q was taken", image)
		}
	}
}

// TestAttachTakesNoOthersPlace: a registration is another cluster's unless this
// cluster says or shows that it is its own.
func TestAttachTakesNoOthersPlace(t *testing.T) {
	for _, c := range []struct {
		name    string
		before  *attach.Attachment
		issuer  string
		replace bool
		refused string
	}{
		{name: "remembered", before: &attach.Attachment{ResourceID: "/subscriptions/S/resourcegroups/G/providers/microsoft.kubernetes/connectedClusters/SHOP", Cloud: "https://management.cloud.example"}},
		{name: "another resource", before: &attach.Attachment{ResourceID: "/other", Cloud: "https://management.cloud.example"}, refused: "attached already"},
		{
			name: "another cloud", refused: "attached already",
			before: &attach.Attachment{ResourceID: "/subscriptions/s/resourceGroups/g/providers/Microsoft.Kubernetes/connectedClusters/shop", Cloud: "https://management.else.example"},
		},
		{name: "another issuer", issuer: "https://elsewhere.example", refused: "its keys are others"},
		{name: "told so", issuer: "https://elsewhere.example", replace: true},
	} {
		r := runFor(t, "10.0.0.5:443", "cloud.example")
		r.before, r.replace, r.issuer.URL = c.before, c.replace, c.issuer
		r.registered = &connectedCluster{Properties: connectedClusterInfo{
			Issuer: oidcIssuerProfile{IssuerURL: "https://oidc.cloud.example/t/c/"}, Miscellaneous: map[string]string{"enrolled": "true"},
		}}
		err := r.checkIdentity(t.Context())
		if (c.refused == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestAttachPlanForPeople: what is to be done is not told as done.
func TestAttachPlanForPeople(t *testing.T) {
	p := &attachPlan{Image: "registry.example/agent:1", notes: []string{"\nA note."}, Cloud: []cloudChange{{"create", "/a"}}}
	p.Cluster.Context, p.Cluster.Server, p.Cluster.Version, p.Cluster.Issuer = "kind", "https://k", "v1.36.3", "https://i"
	for outcome, name := range map[attach.Outcome]string{attach.Created: "new", attach.Changed: "old", attach.Unchanged: "same"} {
		p.Objects = append(p.Objects, attach.Change{Object: attach.Object{Kind: "Secret", Namespace: "n", Name: name}, Outcome: outcome})
	}
	slices.SortFunc(p.Objects, func(a, b attach.Change) int { return strings.Compare(a.Name, b.Name) })
	var b strings.Builder
	if err := p.print(&b); err != nil {
		t.Fatal(err)
	}
	const want = `Kubernetes cluster kind (https://k, v1.36.3)
  its issuer: https://i
  the agent's image: registry.example/agent:1

A note.

In the cloud:
  create /a

In the cluster:
  create Secret n/new
  change Secret n/old
  (1 to change, 1 to create, 1 unchanged)

`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("plan (-want +got):\n%s", d)
	}
}
