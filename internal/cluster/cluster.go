package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
)

// Config configures [Open]. Store, Audit and Cloud are required.
type Config struct {
	Store *store.Store
	Audit *audit.Log
	Cloud azure.Cloud
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Logger may be nil.
	Logger *slog.Logger
}

// Clusters are the attached clusters and the trusted issuers of one cloud. Their
// methods are safe for concurrent use.
type Clusters struct {
	store *store.Store
	audit *audit.Log
	cloud azure.Cloud
	now   func() time.Time
	log   *slog.Logger

	mu       sync.RWMutex // guards view and everything below it
	view     *view
	onChange []func(clusters []string, revision int64)
}

// Open follows the store until that is closed, and returns when the view is
// complete; ctx bounds the opening only.
func Open(ctx context.Context, cfg Config) (*Clusters, error) {
	if cfg.Store == nil || cfg.Audit == nil || cfg.Cloud.Domain == "" {
		return nil, errors.New("cluster: a store, an audit log and a cloud are required")
	}
	c := &Clusters{store: cfg.Store, audit: cfg.Audit, cloud: cfg.Cloud, now: cfg.Now, log: cfg.Logger, view: newView()}
	if c.now == nil {
		c.now = time.Now
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if err := c.store.Follow(ctx, prefix, c.apply); err != nil {
		return nil, fmt.Errorf("following clusters: %w", err)
	}
	return c, nil
}

// issuerURL gives the issuer that the cloud assigns to a cluster. It ends with a
// slash, as AKS's do.
func (c *Clusters) issuerURL(tenantID, id string) string {
	return c.ownIssuers() + azure.Fold(tenantID) + "/" + id + "/"
}

// ownIssuers is what every assigned issuer begins with, and no other.
func (c *Clusters) ownIssuers() string { return c.cloud.OIDC() + "/" }

// Keys gives the cloud's own copy of an issuer's keys, as far as a tenant is to
// use it; see [token.IssuersConfig]. The issuer of an attached cluster that the
// cloud has assigned is everybody's to trust; for another issuer it is the tenant
// for which the operator has given the keys. Below the cloud's own address there
// are no other issuers than its own.
func (c *Clusters) Keys(tenantID, issuer string) (*token.LocalKeys, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if e := c.view.issuers[issuer]; e != nil {
		return e.keys, true
	}
	if keys := c.view.trustedKeys[trust{azure.Fold(tenantID), issuer}]; keys != nil {
		return keys, true
	}
	return nil, strings.HasPrefix(issuer, c.ownIssuers())
}

// entry gives a cluster with its keys, by its folded ID.
func (c *Clusters) entry(id string) (*entry, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e := c.view.clusters[id]
	return e, e != nil
}

// OnChange has f called whenever the records of clusters have changed, after they
// have, with the revision of the change; nil clusters stand for all. f is called
// by the goroutine that feeds the view: it must be quick, and must not call the
// store. OnChange is for the time before the first write.
func (c *Clusters) OnChange(f func(clusters []string, revision int64)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onChange = append(c.onChange, f)
}

// auditKeys records what was done to an issuer's keys, by whom.
func (c *Clusters) auditKeys(ctx context.Context, who audit.Record, change keyChange) error {
	if change.empty() {
		return nil
	}
	who.Kind, who.Result = audit.KindOperator, audit.ResultAllowed
	if who.Detail == nil {
		who.Detail = map[string]string{}
	}
	who.Detail["keysAdded"] = strings.Join(change.added, " ")
	who.Detail["keysRemoved"] = strings.Join(change.removed, " ")
	if err := c.audit.Write(ctx, who); err != nil {
		return fmt.Errorf("recording a change of keys at %s: %w", who.Scope, err)
	}
	return nil
}
