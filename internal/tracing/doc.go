// Package tracing records what a request takes and sends it, as OpenTelemetry
// traces, to a collector. It is the only user of OpenTelemetry. It must not know
// what is traced: packages start spans where their own steps are, and decide what
// a span says. Never a token, a secret, an assertion, or anything else by which
// somebody could sign in.
//
// A [Tracer] is passed to whoever records. There is no global one, so that two
// clouds in a process have one each; and a nil one, which is the default, records
// and allocates nothing.
package tracing
