// Package machine makes machines out of Linux namespaces, and a LAN between them:
// each has its own network, mounts, processes and name, and what runs on it ends
// when this process ends, however it does. Nothing of it touches the network
// namespace that the caller is in.
//
// It knows nothing of Kubernetes. It needs root, and Linux; elsewhere every call
// fails with errors.ErrUnsupported.
package machine
