// Package e2e drives a running Lanyard with unmodified Azure clients, as its
// users do: the programs are built, "lanyard up" runs as a process of its own,
// and what the tests know of it is the environment file.
// TestLanyardTest has its clouds inside itself instead.
package e2e
