// Command kubernetes is etcd and all of Kubernetes in one file: it runs the
// component by whose name it is called, directly or as its first argument. One
// file links what they share once, and is built in a fraction of the time.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	_ "time/tzdata" // CronJobs name time zones; an image FROM scratch has none

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // the metrics of requests
	_ "k8s.io/component-base/metrics/prometheus/version"  // build_info
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// component runs with the process's arguments, of which the first is its name,
// and gives the exit code.
type component func(args []string) int

func components() map[string]component {
	return map[string]component{
		"etcd": func(args []string) int { etcdmain.Main(args); return 0 },
		"kubectl": func(args []string) int {
			if _, err := logs.GlogSetter(kubectl.GetLogVerbosity(args)); err != nil {
				fmt.Fprintln(os.Stderr, "kubectl:", err)
				return 1
			}
			if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
				kubectlutil.CheckErr(err) // prints and exits as kubectl does
				return 1
			}
			return 0
		},
		"kube-apiserver":          run(apiserver.NewAPIServerCommand),
		"kube-controller-manager": run(controllermanager.NewControllerManagerCommand),
		"kube-scheduler":          run(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
		"kube-proxy":              run(proxy.NewProxyCommand),
		"kubelet":                 run(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
	}
}

func run(command func() *cobra.Command) component {
	return func([]string) int { return cli.Run(command()) }
}

func main() {
	all := components()
	if all[filepath.Base(os.Args[0])] == nil && len(os.Args) > 1 {
		os.Args = os.Args[1:] // "kubernetes kubelet ..."
	}
	name := filepath.Base(os.Args[0])
	if all[name] == nil {
		var names []string
		for n := range all {
			names = append(names, n)
		}
		slices.Sort(names)
		fmt.Fprintf(os.Stderr, "kubernetes: %q is none of its components: %s\n", name, strings.Join(names, ", "))
		os.Exit(2)
	}
	os.Exit(all[name](os.Args))
}
