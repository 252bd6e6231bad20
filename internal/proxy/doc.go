// Package proxy is the loopback CONNECT proxy through which programs reach the
// cloud's names without DNS, root or a name in /etc/hosts: *.lanyard.localhost
// does not resolve in plain glibc, Go or Python, and an enabled alias such as
// login-us.microsoftonline.com must lead here and not to the Internet.
//
// The cloud's own and alias names lead to the cloud's listener. Every other
// name goes where the environment that the proxy was started in would have
// sent it: directly, or through the proxy that was set there, so that a
// program's other traffic goes on. The proxy listens on loopback only and asks
// for a secret. It never looks into a tunnel: TLS is between the program and
// whoever it speaks to.
//
// The package knows nothing of tokens, resources or the store.
package proxy
