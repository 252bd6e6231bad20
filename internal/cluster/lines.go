package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/directory"
)

// encode gives a line.
func encode(c channel.Change) []byte {
	line, _ := json.Marshal(c) // of strings and numbers: it always encodes
	return append(line, '\n')
}

// clusterOf is what an agent is told of its cluster.
func clusterOf(e *entry) channel.Cluster {
	return channel.Cluster{ID: e.ID, ResourceID: e.ResourceID, TenantID: e.TenantID, IssuerURL: e.issuer(), KeyIDs: e.keys.IDs()}
}

func equalClusters(a, b channel.Cluster) bool {
	keys := slices.Equal(a.KeyIDs, b.KeyIDs)
	return keys && a.Incomplete == b.Incomplete && a.ID == b.ID && a.ResourceID == b.ResourceID && a.TenantID == b.TenantID && a.IssuerURL == b.IssuerURL
}

// credentialOf is what an agent is told of a credential. Its ID says nothing of
// the owner but that it is the same one.
func credentialOf(t directory.Trust) channel.Credential {
	c := t.Credential
	sum := sha256.Sum256([]byte(strings.Join([]string{c.TenantID, c.Owner, azure.Fold(c.Name)}, "/")))
	return channel.Credential{
		ID: hex.EncodeToString(sum[:16]), ClientID: t.ClientID, TenantID: c.TenantID, Name: t.DisplayName + "/" + c.Name,
		Subject: c.Subject, Flexible: c.ClaimsMatchingExpression != nil, Audiences: c.Audiences,
	}
}

func equalCredentials(a, b channel.Credential) bool {
	audiences := slices.Equal(a.Audiences, b.Audiences)
	return audiences && a.ID == b.ID && a.ClientID == b.ClientID && a.TenantID == b.TenantID && a.Name == b.Name &&
		a.Subject == b.Subject && a.Flexible == b.Flexible
}
