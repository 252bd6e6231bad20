// Package deploy holds what is deployed beside a program: the Helm chart that
// puts the agent into a cluster, embedded, so that lanyard attach installs the
// chart that its own version knows.
//
// The chart installs by `helm install` as well; its README says how. The package
// must not know what renders it.
package deploy
