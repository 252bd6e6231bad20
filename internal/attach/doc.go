// Package attach puts the agent into a Kubernetes cluster and takes it out
// again. It is the only Kubernetes client of lanyard: what commands ask of a
// cluster, such as its issuer or a service account, they ask here.
//
// Of client-go it uses the REST and dynamic clients alone: typed clients bring
// every type of the Kubernetes API into a process that is mostly a cloud.
//
// The package must not know the cloud's storage or its planes. What the cloud
// says of a cluster comes in as values.
package attach
