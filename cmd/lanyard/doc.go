// Command lanyard is the cloud side of Lanyard and its operator's command:
//
//	lanyard up       a cloud on this machine, without configuration
//	lanyard serve    a cloud as a service, from a configuration file
//	lanyard env      the variables by which Azure's SDKs find a cloud
//	lanyard token    get a token and show what it says
//	lanyard app      applications and their credentials
//	lanyard issuer   the issuer of a cluster's tokens: publish, rotate, check
//
// One file holds one command. What they have in common is in root.go (finding the
// environment file) and, with lanyard-agent's, in package command.
package main
