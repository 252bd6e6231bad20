// Package trust puts authorities' certificates into the forms by which programs
// come to trust them: PEM bundles, the trust store of Java, and the file names by
// which OpenSSL finds a certificate in a directory. It also knows the public
// authorities, so that a program whose list is replaced keeps its other
// connections.
//
// Everything here is a pure function of its arguments. The package must not know
// files, environments or who is to trust whom.
package trust
