package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/lanyard-id/lanyard/internal/attach"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/command"
)

// webhookAccount is the service account by which the agent speaks to the cloud.
const webhookAccount = "azure-wi-webhook-admin"

// attachRun is one run of `lanyard attach`: what it found, and what it did.
type attachRun struct {
	*attachFlags
	cmd  *cobra.Command
	arm  *armClient
	kube *attach.Cluster
	id   azure.ResourceID

	version    string
	issuer     attach.Issuer
	before     *attach.Attachment // nil: not attached yet
	registered *connectedCluster  // nil: not registered yet
	group      string             // the group's location, empty where there is no group
	attachment attach.Attachment  // as it will be
	install    *attach.Installation
	enrolled   enrolment

	done []string
}

// enrolment is the cloud's answer to the keys of a cluster.
type enrolment struct {
	ClusterID     string   `json:"clusterId"`
	IssuerURL     string   `json:"issuerUrl"`
	AgentEndpoint string   `json:"agentEndpoint"`
	KeyIDs        []string `json:"keyIds"`
	Unusable      []string `json:"unusableKeyIds"`
}

// look reads the cluster and the cloud, and changes neither.
func (f *attachFlags) look(ctx context.Context, cmd *cobra.Command, name string) (*attachRun, error) {
	r := &attachRun{attachFlags: f, cmd: cmd}
	env, _, err := f.where.load()
	if err != nil {
		return nil, err
	}
	if r.kube, err = f.cluster.connect(); err != nil {
		return nil, err
	}
	if r.version, err = r.kube.Version(ctx); err != nil {
		return nil, err
	}
	if r.issuer, err = r.kube.Issuer(ctx); err != nil {
		return nil, err
	}
	if r.before, err = r.kube.Attachment(ctx); err != nil {
		return nil, err
	}
	if r.arm, err = newARMClient(ctx, env); err != nil {
		return nil, err
	}
	err = r.lookAtCloud(ctx, name)
	if err == nil && !r.cloudOnly {
		err = r.install.Suits(r.version)
	}
	if err != nil {
		r.arm.close()
		return nil, err
	}
	return r, nil
}

func (r *attachRun) lookAtCloud(ctx context.Context, name string) error {
	var err error
	if r.id, err = r.place.id(r.arm, name); err != nil {
		return err
	}
	var group struct{ Location string }
	err = r.arm.do(ctx, http.MethodGet, r.id.Scope().String()+resourceGroupVersion, nil, &group)
	if err != nil && !isCode(err, "ResourceGroupNotFound") {
		return err
	}
	r.group = group.Location
	if r.registered, err = r.arm.cluster(ctx, r.id); err != nil {
		return err
	}
	if err := r.checkIdentity(ctx); err != nil {
		return err
	}
	if r.attachment, err = r.attachmentOf(); err != nil {
		return err
	}
	return r.prepare()
}

// prepare renders the installation by what is known so far.
func (r *attachRun) prepare() error {
	own, err := r.ownValues()
	if err != nil {
		return err
	}
	r.install, err = attach.Prepare(r.attachment, own)
	return err
}

// plan says what is to be done.
func (r *attachRun) plan(ctx context.Context) (*attachPlan, error) {
	p := &attachPlan{ResourceID: r.id.String()}
	p.Cluster.Context, p.Cluster.Server, p.Cluster.Version, p.Cluster.Issuer = r.kube.Name(), r.kube.Server(), r.version, r.issuer.URL
	add := func(action, resource string) { p.Cloud = append(p.Cloud, cloudChange{action, resource}) }
	if r.group == "" {
		add("create", r.id.Scope().String())
	}
	if r.registered == nil {
		add("create", r.id.String())
	} else {
		add("update", r.id.String())
	}
	switch {
	case r.trust:
		add("trust", "the issuer "+r.issuer.URL+", by the keys that the API server publishes now")
	case r.selfHosted:
		add("trust", "the issuer "+r.issuer.URL+", by the keys that it publishes")
	default:
		add("enroll", "the keys that the API server publishes")
	}
	p.Cluster.IssuerChanges = !r.trust && !r.selfHosted && (r.registered == nil || !r.registered.Properties.issuers()[r.issuer.URL])
	if p.Cluster.IssuerChanges {
		p.notes = append(p.notes, `
The API server has to sign as the issuer that the cloud assigns to the cluster.
Attach registers the cluster, says which flags that takes, and changes nothing in
the cluster until they are there. --self-hosted-issuer or --trust-issuer keeps the
issuer that it has.`)
	}
	if r.cloudOnly {
		return p, nil
	}
	p.Image = r.install.Image()
	if _, given := r.attachment.Values["image"]; !given && !isRelease(command.Version()) {
		p.notes = append(p.notes, `
This lanyard is no release, so the agent's image may be of another version, or not
be there: make image makes one of the same source, and --image names it.`)
	}
	var err error
	p.Objects, err = r.install.Plan(ctx, r.kube)
	return p, err
}

// say tells of progress, and did of a step that is done.
func (r *attachRun) say(text string) { fmt.Fprintln(r.cmd.ErrOrStderr(), text) }

func (r *attachRun) did(step string) {
	r.done = append(r.done, step)
	r.say(step)
}

// do does what the plan says. Each step may be done again.
func (r *attachRun) do(ctx context.Context) error {
	if err := r.register(ctx); err != nil {
		return err
	}
	if err := r.checkIssuer(); err != nil {
		return err
	}
	if !r.cloudOnly {
		if err := r.install.Remember(ctx, r.kube); err != nil {
			return err
		}
	}
	if err := r.enroll(ctx); err != nil {
		return err
	}
	// Now the cloud has said where agents talk to it, and what the cluster is.
	if err := r.prepare(); err != nil {
		return err
	}
	if r.cloudOnly {
		return nil
	}
	count := 0
	err := r.install.Apply(ctx, r.kube, func(c attach.Change) {
		if c.Outcome != attach.Unchanged {
			count++
			r.say(string(c.Outcome) + " " + c.Object.String())
		}
	})
	if err != nil {
		return fmt.Errorf("installing the agent: %w", err)
	}
	r.did(fmt.Sprintf("the agent is installed (objects written: %d)", count))
	if err := r.install.Ready(ctx, r.kube, r.say); err != nil {
		return fmt.Errorf("the agent is not ready: %w", err)
	}
	r.did("the webhook is ready")
	return r.heard(ctx)
}

// heard waits until the cloud has heard of the agent.
func (r *attachRun) heard(ctx context.Context) error {
	for first := true; ; first = false {
		now, err := r.arm.cluster(ctx, r.id)
		if err != nil {
			return err
		}
		if now == nil {
			return fmt.Errorf("%s was deleted meanwhile", r.id)
		}
		if now.Properties.ConnectivityStatus == "Connected" {
			r.registered = now
			r.did("the cloud hears of the agent")
			return nil
		}
		if first {
			r.say("waiting for the cloud to hear of the agent")
		}
		if err := waitFor(ctx, 500*time.Millisecond); err != nil {
			return fmt.Errorf("the cloud has not heard of the agent; its log says why (kubectl logs --namespace %s deployment/azure-wi-webhook-controller-manager): %w", r.attachment.Namespace, err)
		}
	}
}

// failed says what was done before a failure.
func (r *attachRun) failed(err error) error {
	if len(r.done) == 0 {
		return err
	}
	return fmt.Errorf("%w\n%sRun the same command again to go on", err, doneSoFar(r.done))
}

// attached is the report of a run.
type attached struct {
	ResourceID    string `json:"resourceId"`
	ClusterID     string `json:"clusterId"`
	IssuerURL     string `json:"issuerUrl"`
	AgentEndpoint string `json:"agentEndpoint"`
	Namespace     string `json:"namespace"`
}

// report says what there is now, and what comes next.
func (r *attachRun) report(w io.Writer) error {
	if r.cloudOnly {
		own, err := r.ownValues()
		if err != nil {
			return err
		}
		content, err := yaml.Marshal(attach.MergeValues(own, r.attachment.Values))
		if err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	}
	issuer := r.enrolled.IssuerURL
	if r.out.JSON() {
		return command.PrintJSON(w, attached{r.id.String(), r.enrolled.ClusterID, issuer, r.enrolled.AgentEndpoint, r.attachment.Namespace})
	}
	_, err := fmt.Fprintf(w, `%s is attached. Its issuer is
  %s
Let a service account of it be an identity:
  lanyard serviceaccount create --service-account-namespace NAMESPACE --service-account-name NAME \
    --managed-identity IDENTITY --resource-group GROUP --skip-phases role-assignment
and label the pods that use it with azure.workload.identity/use: "true".
`, r.id.Name(), issuer)
	if _, given := r.given("hosts"); err == nil && !given && localNames(r.arm.env.Domain) {
		_, err = fmt.Fprintf(w, "No DNS knows names below %s: lead pods to a vault by another attach with --host VAULT.vault.%[1]s.\n", r.arm.env.Domain)
	}
	return err
}

// register makes the resource, and its group if there is none.
func (r *attachRun) register(ctx context.Context) error {
	location := r.location
	if location == "" {
		location = r.group
	}
	if location == "" {
		location = "eastus"
	}
	if r.group == "" {
		scope := r.id.Scope()
		if err := r.arm.do(ctx, http.MethodPut, scope.String()+resourceGroupVersion, map[string]any{"location": location}, nil); err != nil {
			return fmt.Errorf("creating the resource group: %w", err)
		}
		r.did("created the resource group " + scope.Name())
	}
	issuer := oidcIssuerProfile{Enabled: true}
	body := map[string]any{"location": location, "identity": map[string]string{"type": "SystemAssigned"}}
	if have := r.registered; have != nil {
		// What others wrote on it stays; where it is cannot change.
		body["location"], body["tags"] = have.Location, have.Tags
		issuer.SelfHostedURL = have.Properties.Issuer.SelfHostedURL
	}
	if r.selfHosted || r.trust {
		issuer.SelfHostedURL = r.issuer.URL
	}
	body["properties"] = map[string]any{
		"agentPublicKeyCertificate": "", "oidcIssuerProfile": issuer,
		"securityProfile": map[string]any{"workloadIdentity": map[string]bool{"enabled": true}},
	}
	var made connectedCluster
	if err := r.arm.do(ctx, http.MethodPut, r.id.String()+clusterVersion, body, &made); err != nil {
		return fmt.Errorf("registering the cluster: %w", err)
	}
	r.registered = &made
	r.did("registered " + r.id.String())
	return nil
}

// checkIssuer sees that the API server signs as the resource says.
func (r *attachRun) checkIssuer() error {
	profile := r.registered.Properties.Issuer
	if is := r.issuer.URL; is != profile.IssuerURL && is != profile.SelfHostedURL {
		return issuerMismatch(is, profile.IssuerURL)
	}
	return nil
}

// enroll gives the cloud the cluster's keys.
func (r *attachRun) enroll(ctx context.Context) error {
	if r.trust {
		path := "/providers/Lanyard.Directory/trustedIssuers/" + r.trustedName() + cloudVersion
		asked := map[string]any{"properties": map[string]any{"issuerUrl": r.issuer.URL, "tenantId": r.arm.env.TenantID, "jwks": r.issuer.JWKS}}
		if err := r.arm.do(ctx, http.MethodPut, path, asked, nil); err != nil {
			return fmt.Errorf("trusting the issuer: %w", err)
		}
		r.did("trusted the issuer " + r.issuer.URL)
	}
	body := map[string]any{
		"issuer":        r.issuer.URL,
		"agentSubjects": []string{"system:serviceaccount:" + r.attachment.Namespace + ":" + webhookAccount},
	}
	if r.issuer.URL == r.registered.Properties.Issuer.IssuerURL {
		body["keys"] = r.issuer.JWKS
	}
	if err := r.arm.do(ctx, http.MethodPost, r.id.String()+"/enroll"+clusterVersion, body, &r.enrolled); err != nil {
		return fmt.Errorf("enrolling the cluster: %w", err)
	}
	if len(r.enrolled.Unusable) > 0 {
		r.say("keys that no token may be signed with were passed over (RS256 alone is accepted): " + strings.Join(r.enrolled.Unusable, ", "))
	}
	r.did("the cloud knows the cluster's keys")
	return nil
}

// trustedName is the name of the trusted issuer that belongs to the resource.
func (r *attachRun) trustedName() string { return trustedIssuerName(r.id) }

// trustedIssuerName is unique in the cloud, as the resource's name is not.
func trustedIssuerName(id azure.ResourceID) string {
	return strings.ToLower(id.SubscriptionID() + "." + id.ResourceGroup() + "." + id.Name())
}

// issuerMismatch says how the API server comes to sign as the cloud expects.
func issuerMismatch(is, assigned string) error {
	return errors.New(strings.NewReplacer("IS", is, "ASSIGNED", assigned).Replace(
		`the API server signs tokens as another issuer than the one that the cloud has assigned to the cluster.
Give kube-apiserver these flags, in this order, and run the same command again:
  --service-account-issuer=ASSIGNED
  --service-account-issuer=IS
The second keeps tokens that are out; drop it a day later. For a new kind cluster:
  kind: Cluster
  apiVersion: kind.x-k8s.io/v1alpha4
  nodes:
  - role: control-plane
    kubeadmConfigPatches:
    - |
      kind: ClusterConfiguration
      apiServer:
        extraArgs:
          service-account-issuer: ASSIGNED
Or keep the issuer, with --self-hosted-issuer or --trust-issuer`))
}
