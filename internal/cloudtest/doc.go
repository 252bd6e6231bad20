// Package cloudtest is what the tests of the cloud's planes have in common: a
// small cloud (a real store, directory, guard, key set and audit log, and a
// clock that tests move), principals that tests call by name, their tokens, and
// the golden files of requests and answers.
//
// A test builds its own plane on a [Cloud], sends it requests with [Send], and
// plays the files of its testdata with [Golden].
//
// It must not know any plane, so that every plane's tests can import it; those
// of the packages that it opens (store, directory, rbac, token) can do so only
// from outside of their package. The product never imports it.
package cloudtest
