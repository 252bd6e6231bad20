// Package standin is what stands in tests for what a process has around it: a
// clock that tests move, a log that they read, another machine that asks.
//
// It knows nothing of the project, so that every package's tests can import it.
// The product never does.
package standin
