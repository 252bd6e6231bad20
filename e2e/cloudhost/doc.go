// Package cloudhost puts a cloud beside a cluster of kubetest: "lanyard up" on a
// host of the cluster's LAN, and the cluster attached to it by "lanyard attach", as
// an operator would. It uses the programs alone, and nothing that is inside them.
package cloudhost
