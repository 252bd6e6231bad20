// Command lanyard is the cloud side of Lanyard and its operator's command:
//
//	lanyard up       a cloud on this machine, without configuration
//	lanyard serve    a cloud as a service, from a configuration file
//	lanyard env      the variables by which Azure's SDKs find a cloud
//	lanyard token    get a token and show what it says
//	lanyard app      applications and their credentials
//	lanyard issuer   the issuer of a cluster's tokens: publish, rotate, check
//
// One file holds one command. What they have in common (finding the environment
// file, output forms, exit codes) is in root.go.
package main
