// Package selfmanaged tests the issuer of a cluster whose operator keeps the keys:
// published, checked and rotated by lanyard's commands, on a real API server.
package selfmanaged
