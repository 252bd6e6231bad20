// Command coredns is CoreDNS with the plugins that the cluster under test uses;
// the release links forty more, among them every cloud's DNS.
package main

import (
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"      // as every cluster has it
	_ "github.com/coredns/coredns/plugin/errors"     // failures to the log
	_ "github.com/coredns/coredns/plugin/forward"    // the LAN's DNS
	_ "github.com/coredns/coredns/plugin/health"     // the liveness probe
	_ "github.com/coredns/coredns/plugin/hosts"      // names as in /etc/hosts
	_ "github.com/coredns/coredns/plugin/kubernetes" // services and pods
	_ "github.com/coredns/coredns/plugin/log"        // queries to the log
	_ "github.com/coredns/coredns/plugin/ready"      // the readiness probe
	_ "github.com/coredns/coredns/plugin/reload"     // a changed Corefile
	_ "github.com/coredns/coredns/plugin/template"   // whole zones with one answer
)

func main() { coremain.Run() }
