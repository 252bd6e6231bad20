// Package server puts the cloud together: it reads the configuration, opens
// the store and what lives in it, and serves every plane on one HTTPS port,
// told apart by host name. It owns TLS and the certificate authority, the
// middleware that every request passes (identifiers, limits, access log,
// metrics, recovery), health, the environment file, and the first start.
//
// It is the one place that knows all planes; it must not know what any of them
// means by a request.
package server
