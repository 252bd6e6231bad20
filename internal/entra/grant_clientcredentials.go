package entra

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
)

// clientCredentials is the grant by which a client gets a token for itself:
// applications by secret or assertion, managed identities by assertion.
var clientCredentials = grant{
	name: "client_credentials",
	run: func(h *Handler, ctx context.Context, x *exchange) *azure.Error {
		var e *azure.Error
		if x.audience, e = x.protocol.audience(x.form); e != nil {
			return e
		}
		if e = h.findClient(x); e != nil {
			return e
		}
		e = h.step(ctx, "authenticate", func(ctx context.Context) *azure.Error { return h.authenticate(ctx, x) })
		if e != nil {
			return e
		}
		x.subject = x.client.Principal
		x.lifetime = lifetimeOf(x.client)
		return nil
	},
}

// lifetime is how long a token lasts from now.
type lifetime struct {
	seconds int64
	// refresh is after how many seconds a client should get another one; 0
	// leaves it to the client.
	refresh int64
}

const (
	// backdate is how far before its issue a token begins, so that a resource
	// whose clock is behind accepts it at once.
	backdate = 5 * time.Minute
	// managedIdentityLifetime is how long tokens of managed identities last.
	managedIdentityLifetime = 24 * time.Hour
	// Tokens of applications last between these two, at random, so that the
	// clients of one deployment do not all come back in the same second.
	minApplicationLifetime = 60 * time.Minute
	maxApplicationLifetime = 90 * time.Minute
)

// lifetimeOf gives the lifetime of an application token of the client. Long
// ones are to be refreshed halfway.
func lifetimeOf(c directory.Client) lifetime {
	if c.Application == nil {
		seconds := int64(managedIdentityLifetime / time.Second)
		return lifetime{seconds: seconds, refresh: seconds / 2}
	}
	var random [8]byte
	rand.Read(random[:]) // never fails: the process ends instead
	spread := uint64((maxApplicationLifetime-minApplicationLifetime)/time.Second) + 1
	return lifetime{seconds: int64(minApplicationLifetime/time.Second) + int64(binary.NativeEndian.Uint64(random[:])%spread)}
}
