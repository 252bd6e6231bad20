// Package provider holds every Azure Resource Manager resource type, one file
// each, and the one table that lists them ([Types]). A type is a description
// and hooks for internal/arm, which owns the pipeline. Providers keep no state
// of their own: everything is in the store, the directory or the guard.
//
// The package must not know HTTP beyond what the hooks are given, nor the data
// planes: what it needs of them comes by the one-method interfaces in [Config].
package provider
