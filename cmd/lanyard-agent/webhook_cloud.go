package main

import (
	"errors"

	"github.com/lanyard-id/lanyard/internal/controller"
)

// defaultChannelToken is where the chart mounts the agent's token for the channel.
const defaultChannelToken = "/var/run/secrets/lanyard/token" //nolint:gosec // a path

// cloudHelp is the help on what points pods at a Lanyard.
const cloudHelp = `Variables that point pods at a Lanyard instead of Azure:
  LANYARD_CA_FILE              the cloud's authority, PEM; it is followed. Without it
                               all is as before Azure
  LANYARD_AUTHORITY            the ways to the cloud's token service, separated by
                               commas; the first is that of all pods, the others are
                               for pods that ask. alias (default): by
                               login-us.microsoftonline.com, which leaves Azure's
                               public cloud alone; override: by the authority host of
                               AZURE_ENVIRONMENT; own-host: by LANYARD_AUTHORITY_HOST,
                               which some SDKs take only if told so
  LANYARD_AUTHORITY_HOST       https://login.DOMAIN[:PORT]/, with own-host
  LANYARD_ADDRESS              the cloud's IP address, for host aliases of pods;
                               without it the cluster's DNS leads to the cloud
  LANYARD_HOSTS                further names that lead to the address, by commas
  LANYARD_TRUST                languages in which pods trust the cloud: go, openssl,
                               dotnet (before .NET 9), node, python, java, by commas;
                               or none (default go,openssl,node,python,java)
  LANYARD_AGENTS_URL           https://agents.DOMAIN: what the cloud knows is asked
  LANYARD_CLUSTER_ID           there, and what the cluster is like is told, under the
                               ID that the cloud has given the cluster
  LANYARD_TOKEN_FILE           the agent's token for it
                               (default ` + defaultChannelToken + `)

A pod that might send its tokens to someone else is refused: the webhook goes to
the authority by the way of the pods first, and takes none but the cloud for it.

Annotations of pods, beside upstream's:
  lanyard.dev/authority        one of LANYARD_AUTHORITY
  lanyard.dev/trust            none, or some of LANYARD_TRUST
  lanyard.dev/client-id        the identity's client ID, in place of the service
                               account's`

// channelConfig reads where the cloud hears of the cluster, nil where it does not.
func channelConfig(getenv func(string) string) (*controller.ChannelConfig, error) {
	c := &controller.ChannelConfig{
		Endpoint: getenv("LANYARD_AGENTS_URL"), ClusterID: getenv("LANYARD_CLUSTER_ID"), TokenFile: getenv("LANYARD_TOKEN_FILE"),
	}
	switch {
	case c.Endpoint == "" && c.ClusterID == "":
		return nil, nil
	case c.Endpoint == "":
		return nil, errors.New("LANYARD_CLUSTER_ID needs LANYARD_AGENTS_URL")
	case c.ClusterID == "":
		return nil, errors.New("LANYARD_AGENTS_URL needs LANYARD_CLUSTER_ID")
	}
	if c.TokenFile == "" {
		c.TokenFile = defaultChannelToken
	}
	return c, nil
}
