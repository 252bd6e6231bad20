// Package lanyard holds the module's own checks: which package may import
// which, and whether the ledger of claims in docs/parity.md names tests that
// exist and ran. The programs are in cmd, the cloud for users' own tests in
// lanyardtest, everything else in internal.
package lanyard
