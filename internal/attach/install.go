package attach

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/lanyard-id/lanyard/deploy"
)

// Installation is the agent as it is to be in a cluster.
type Installation struct {
	attachment  Attachment
	objects     []*unstructured.Unstructured
	kubeVersion string // which versions of Kubernetes it is for, as a constraint
}

// Prepare renders the agent's chart. The operator's values are those of the
// attachment; own are attach's, which they may override. It needs no cluster.
func Prepare(a Attachment, own map[string]any) (*Installation, error) {
	if a.Namespace == "" {
		a.Namespace = DefaultNamespace
	}
	c, err := loadChart(deploy.Chart())
	if err != nil {
		return nil, err
	}
	objects, err := c.render(release{Name: agentName, Namespace: a.Namespace, Service: manager}, MergeValues(own, a.Values))
	if err != nil {
		return nil, err
	}
	secret, err := a.object()
	if err != nil {
		return nil, err
	}
	// First of all but its namespace: what begins to be installed is known.
	return &Installation{
		attachment: a, kubeVersion: c.info.KubeVersion,
		objects: append([]*unstructured.Unstructured{namespaceOf(a.Namespace), secret}, objects...),
	}, nil
}

// Suits is an error where the agent is not made for clusters of that version, such
// as v1.29.4. A version of another form than Kubernetes' suits.
func (i *Installation) Suits(version string) error {
	made, err := semver.NewConstraint(i.kubeVersion)
	if err != nil {
		return fmt.Errorf("the chart's kubeVersion: %w", err)
	}
	if v, err := semver.NewVersion(version); err == nil && !made.Check(v) {
		return fmt.Errorf("the cluster's Kubernetes is %s, and the agent is made for %s", version, i.kubeVersion)
	}
	return nil
}

// Image is that of the webhook's container, as Kubernetes pulls it.
func (i *Installation) Image() string {
	for _, o := range i.objects {
		if o.GetKind() != "Deployment" {
			continue
		}
		for _, container := range objectsIn(o, "spec", "template", "spec", "containers") {
			return text(container, "image")
		}
	}
	return ""
}

// namespaceOf is the agent's namespace, as restricted as its pods.
func namespaceOf(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{"name": name, "labels": map[string]any{
			nameLabel: agentName, managedByLabel: manager, "azure-workload-identity.io/system": "true",
			"pod-security.kubernetes.io/enforce": "restricted",
			"pod-security.kubernetes.io/audit":   "restricted",
			"pod-security.kubernetes.io/warn":    "restricted",
		}},
	}}
}

// YAML gives the objects as `kubectl apply` takes them.
func (i *Installation) YAML() ([]byte, error) {
	var b bytes.Buffer
	for _, o := range i.objects {
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			return nil, err
		}
		b.WriteString("---\n")
		b.Write(text)
	}
	return b.Bytes(), nil
}

// Change is what is to become of an object.
type Change struct {
	Object
	// Outcome is Created, Changed, Unchanged or Deleted.
	Outcome Outcome `json:"outcome"`
}

// Deleted is the outcome for what is there and is not to be.
const Deleted Outcome = "deleted"

// Plan asks the API server what applying the installation would do, without
// doing it. Objects of these names that attach did not make are an error: they
// are someone's, such as those of another installation of the webhook.
func (i *Installation) Plan(ctx context.Context, c *Cluster) ([]Change, error) {
	have, err := c.live(ctx, nameOf(i.objects[0]))
	if err != nil {
		return nil, err
	}
	namespaceIsNew := have == nil
	var changes []Change
	var foreign []*unstructured.Unstructured
	for _, o := range i.objects {
		have, err := c.live(ctx, nameOf(o))
		if err != nil {
			return nil, err
		}
		switch {
		case o.GetKind() == "Namespace" && have != nil && !isOurs(have):
			continue // somebody's: it stays as it is
		case have != nil && !isOurs(have):
			foreign = append(foreign, have)
			continue
		}
		outcome := Created
		if have != nil || o.GetNamespace() == "" || !namespaceIsNew {
			if outcome, err = c.dryRun(ctx, have, o); err != nil {
				return nil, err
			}
		}
		changes = append(changes, Change{nameOf(o), outcome})
	}
	if len(foreign) > 0 {
		return nil, foreignError(foreign)
	}
	superfluous, err := i.superfluous(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, o := range superfluous {
		changes = append(changes, Change{nameOf(&o), Deleted})
	}
	return changes, nil
}

// isOurs reports whether attach made an object.
func isOurs(o *unstructured.Unstructured) bool {
	l := o.GetLabels()
	return l[nameLabel] == agentName && l[managedByLabel] == manager
}

// foreignError names objects that are in the way, and how their owner takes them
// out.
func foreignError(objects []*unstructured.Unstructured) error {
	var names, releases []string
	for _, o := range objects {
		names = append(names, nameOf(o).String())
		a := o.GetAnnotations()
		if name := a["meta.helm.sh/release-name"]; name != "" {
			command := "helm uninstall " + name + " --namespace " + a["meta.helm.sh/release-namespace"]
			if !slices.Contains(releases, command) {
				releases = append(releases, command)
			}
		}
	}
	step := "take that installation of the webhook out first"
	if len(releases) > 0 {
		step = "take it out first, with `" + strings.Join(releases, "` and `") + "`"
	}
	return fmt.Errorf("the cluster has objects of these names that lanyard attach did not make (%s): %s", strings.Join(names, ", "), step)
}

// dryRun tells what applying an object would do.
func (c *Cluster) dryRun(ctx context.Context, have, want *unstructured.Unstructured) (Outcome, error) {
	got, err := c.apply(ctx, want, metav1.DryRunAll)
	if err != nil {
		return "", err
	}
	if have == nil {
		return Created, nil
	}
	if reflect.DeepEqual(lasting(have), lasting(got)) {
		return Unchanged, nil
	}
	return Changed, nil
}

// lasting is an object without what the API server writes of each write.
func lasting(o *unstructured.Unstructured) map[string]any {
	o = o.DeepCopy()
	for _, field := range []string{"managedFields", "resourceVersion", "generation"} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	return o.Object
}

// apply applies an object on the server's side: fields that others set, such as
// a certificate's authority, stay.
func (c *Cluster) apply(ctx context.Context, o *unstructured.Unstructured, dryRun ...string) (*unstructured.Unstructured, error) {
	content, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	force := true
	got, err := c.at(nameOf(o)).Patch(ctx, o.GetName(), types.ApplyPatchType, content,
		metav1.PatchOptions{FieldManager: manager, Force: &force, DryRun: dryRun})
	switch {
	case apierrors.IsNotFound(err) && o.GetKind() == "ServiceMonitor":
		return nil, fmt.Errorf("the cluster knows no ServiceMonitors: it has no Prometheus operator; set metrics.serviceMonitor.enabled to false: %w", c.explain(err))
	case err != nil:
		return nil, fmt.Errorf("applying %s: %w", nameOf(o), c.explain(err))
	}
	return got, nil
}

// superfluous are objects that an earlier installation made and this one has not.
func (i *Installation) superfluous(ctx context.Context, c *Cluster) ([]unstructured.Unstructured, error) {
	have, err := c.installed(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(have, func(o unstructured.Unstructured) bool {
		return o.GetKind() == "Namespace" || slices.ContainsFunc(i.objects, func(want *unstructured.Unstructured) bool { return nameOf(want) == nameOf(&o) })
	}), nil
}

// Apply installs the agent, or brings what is there to what is due. done is told
// of each object; it may be nil. After an error the objects that were named are
// in place, and applying again goes on from there.
func (i *Installation) Apply(ctx context.Context, c *Cluster, done func(Change)) error {
	changes, err := i.Plan(ctx, c)
	if err != nil {
		return err
	}
	for _, change := range changes {
		switch change.Outcome {
		case Unchanged:
		case Deleted:
			if err := c.removeNamed(ctx, change.Object); err != nil {
				return err
			}
		default:
			if _, err := c.apply(ctx, i.object(change.Object)); err != nil {
				return err
			}
		}
		if done != nil {
			done(change)
		}
	}
	return nil
}

// Remember writes what the cluster is attached to, before anything else of the
// attachment is done: so that a run which fails is known for what it is.
func (i *Installation) Remember(ctx context.Context, c *Cluster) error {
	for _, o := range i.objects[:2] {
		have, err := c.live(ctx, nameOf(o))
		if err != nil {
			return err
		}
		if have != nil && !isOurs(have) {
			continue // a namespace of somebody's, which Plan has seen
		}
		if _, err := c.apply(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// object gives an object of the installation.
func (i *Installation) object(name Object) *unstructured.Unstructured {
	return i.objects[slices.IndexFunc(i.objects, func(o *unstructured.Unstructured) bool { return nameOf(o) == name })]
}
