package serving

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

// Ensure sees that an object is as change leaves it. change gets the object as it
// is, or absent where there is none, and reports whether it has changed anything
// that is to be written. Where another replica writes first, change is asked again
// about what that one wrote. client is that of the object's resource and namespace;
// absent has kind, namespace and name, and is not changed itself.
func Ensure(ctx context.Context, client dynamic.ResourceInterface, absent *unstructured.Unstructured, change func(object *unstructured.Unstructured) (bool, error)) error {
	what := absent.GetKind() + " " + absent.GetNamespace() + "/" + absent.GetName()
	for {
		object, err := client.Get(ctx, absent.GetName(), metav1.GetOptions{})
		exists := err == nil
		if apierrors.IsNotFound(err) {
			object = absent.DeepCopy()
		} else if err != nil {
			return fmt.Errorf("reading %s: %w", what, err)
		}
		if changed, err := change(object); err != nil || !changed {
			return err
		}
		if exists {
			_, err = client.Update(ctx, object, metav1.UpdateOptions{})
		} else {
			_, err = client.Create(ctx, object, metav1.CreateOptions{})
		}
		switch {
		case err == nil:
			return nil
		case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
			// Another replica was first: look again.
		default:
			return fmt.Errorf("writing %s: %w", what, err)
		}
	}
}
