// Package attach tests the agent's Helm chart with Helm itself, unmodified, and
// attaching a real cluster and detaching it.
package attach
