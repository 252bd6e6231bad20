package pods

import (
	"context"
	"os"
	"testing"

	"github.com/lanyard-id/lanyard/e2e/cloudhost"
	"github.com/lanyard-id/lanyard/e2e/kubetest"
)

const (
	agentImage  = "kubetest.invalid/lanyard-agent:1"
	readerImage = "kubetest.invalid/read-secret:1"
	steadyImage = "kubetest.invalid/steady:1"
)

// world is the package's cluster, attached to the cloud beside it.
var world struct {
	kubetest.Shared
	*cloudhost.Cloud
	azure  azureClients
	issuer string // the cluster's, as the cloud assigned it
}

func TestMain(m *testing.M) {
	world.Options = kubetest.Options{Nodes: []kubetest.Node{{Name: "node1"}, {Name: "node2"}}}
	world.Ready, world.Done = open, func() error {
		if world.Cloud == nil {
			return nil
		}
		return world.Stop()
	}
	os.Exit(world.Main(m))
}

// open starts the cloud, attaches the cluster and brings the applications.
func open(ctx context.Context, k *kubetest.Cluster) (err error) {
	if world.Cloud, err = cloudhost.Start(ctx, k, "../.."); err != nil {
		return err
	}
	if world.azure, err = newAzureClients(world.Env, world.Host); err != nil {
		return err
	}
	for _, i := range []struct{ reference, module, pkg string }{
		{agentImage, "../..", "./cmd/lanyard-agent"},
		{readerImage, "../../examples", "./go/read-secret"},
		{steadyImage, "..", "./pods/steady"},
	} {
		if err := world.LoadProgram(ctx, k, i.reference, i.module, i.pkg); err != nil {
			return err
		}
	}
	world.issuer, err = world.Attach(ctx, k, "one", "clusters", agentImage,
		"--authority", "alias,own-host", "--set", "tokenProxy.enabled=true,logLevel=debug")
	return err
}
