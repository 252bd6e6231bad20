// Package channel is what a cluster's agent and the cloud say to each other: the
// messages, and the agent's side of the conversation. The agent dials the cloud;
// the cloud never dials a cluster.
//
// There are two requests, both to agents.D with the agent's bound service
// account token (audience [Audience]) as the bearer:
//
//   - GET [ChangesPath]: one stream of JSON objects, a line each, every one a
//     [Change]. It begins with the whole state, or, when the request names a
//     revision that the cloud still knows, with what changed since.
//   - POST [ReportsPath]: a [Report], what the agent sees in its cluster.
//
// [Client] holds the agent's end of both, and [State] is what it has learnt, read
// without locks.
//
// The package must know neither the cloud's storage nor Kubernetes.
package channel
