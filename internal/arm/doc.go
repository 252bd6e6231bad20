// Package arm is the Azure Resource Manager engine. It takes a request from its
// path to its answer: it parses the resource ID and the api-version,
// authenticates, asks the guard, decodes the body, runs a type's hooks in one
// transaction, encodes the answer. PATCH, lists and their pages, entity tags,
// long-running operations, cascades and the error document are its own.
//
// A resource type is a [Type], made by [Define] (the engine stores its
// resources) or by [Virtual] (they are kept elsewhere); a type cannot skip a
// step of the pipeline. The engine knows no resource type except the two scopes
// of the ID's grammar, subscription and resource group. It must not know the
// data planes, nor how tokens are made.
//
// DESIGN.md beside this file holds the order of the pipeline and the
// invariants.
package arm
