package kubetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
)

// Kubectl runs kubectl as the administrator, on the control plane's machine, and
// gives what it printed. The error has what it complained of.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.kubectl(ctx, nil, args...)
}

// Apply applies manifests, of one namespace where it is not empty, as "kubectl
// apply --server-side" does.
func (c *Cluster) Apply(ctx context.Context, namespace, manifests string) error {
	args := []string{"apply", "--server-side", "--force-conflicts", "--filename=-"}
	if namespace != "" {
		args = append(args, "--namespace="+namespace)
	}
	_, err := c.kubectl(ctx, strings.NewReader(manifests), args...)
	return err
}

// kubectlTimeout is how long kubectl may take, of which most answers take a tenth
// of a second; what waits for longer has its own ways (Namespace.WaitForPod).
const kubectlTimeout = time.Minute

func (c *Cluster) kubectl(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, kubectlTimeout, fmt.Errorf("not done after %s", kubectlTimeout))
	defer cancel()
	cmd := c.control.Command(ctx, filepath.Join(c.bin, "kubectl"), append([]string{"--kubeconfig=" + c.Kubeconfig}, args...)...)
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &complaints
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), errors.Join(err, context.Cause(ctx)), complaints.String())
	}
	return out.String(), nil
}
