// Package command is what the command lines of both programs have in common, so
// that they behave alike: how a tree of commands is run and stopped, exit codes,
// which arguments are taken, the forms of output, and the command "version".
//
// It knows none of the commands themselves, and nothing of the cloud or of a
// cluster.
package command
