package server

import (
	"context"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cluster"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/entra"
	"github.com/lanyard-id/lanyard/internal/graph"
	"github.com/lanyard-id/lanyard/internal/keyvault"
	"github.com/lanyard-id/lanyard/internal/provider"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/token"
)

// core is what the planes share.
type core struct {
	dir      *directory.Directory
	keys     *token.Keys
	guard    *rbac.Guard
	clusters *cluster.Clusters
	issuers  *token.Issuers
}

// openCore opens what follows the store.
func (s *Server) openCore(ctx context.Context) (c core, err error) {
	options := []directory.Option{directory.WithLogger(s.log)}
	if s.cfg.StrictAzure {
		options = append(options, directory.WithStrict())
	}
	if c.dir, err = directory.Open(ctx, s.store, s.cloud, s.cfg.Now, options...); err != nil {
		return c, err
	}
	var first []token.KeysOption
	if s.firstKey != nil {
		first = append(first, token.WithFirstKey(s.firstKey))
	}
	if c.keys, err = token.OpenKeys(ctx, s.store, s.cfg.Now, s.log, first...); err != nil {
		return c, err
	}
	c.guard, err = rbac.NewGuard(ctx, rbac.Config{
		Store: s.store, Directory: c.dir, Audit: s.audit, Now: s.cfg.Now, Logger: s.log, Strict: s.cfg.StrictAzure,
		AssignmentLag: s.cfg.Rehearsal.roleAssignmentLag(), TokenGroups: s.cfg.Rehearsal.imdsTokenCache() > 0,
	})
	if err != nil {
		return c, err
	}
	if c.clusters, err = cluster.Open(ctx, cluster.Config{Store: s.store, Audit: s.audit, Cloud: s.cloud, Now: s.cfg.Now, Logger: s.log}); err != nil {
		return c, err
	}
	issuers := token.IssuersConfig{Local: c.clusters.Keys, Now: s.cfg.Now, Logger: s.log, Tracer: s.tracer}
	if issuers.Allow, issuers.CAs, err = IssuerTrust(s.cfg.IssuerAllow, s.cfg.IssuerCAFile); err != nil {
		return c, err
	}
	c.issuers = token.NewIssuers(issuers)
	return c, nil
}

// openPlanes makes every plane. Each gets a verifier of its own, so that a token
// for one opens no other.
func (s *Server) openPlanes(ctx context.Context, c core, record bootstrapRecord, reg prometheus.Registerer) (map[plane]http.Handler, error) {
	login, err := entra.New(entra.Config{
		Directory: c.dir, Keys: c.keys, Issuers: c.issuers, Audit: s.audit, Fresh: s.store.Fresh, Guard: c.guard, Cloud: s.cloud,
		DefaultTenant: record.TenantID, Now: s.cfg.Now, Logger: s.log, Strict: s.cfg.StrictAzure, Registerer: reg, Tracer: s.tracer,
		CredentialPropagation: s.cfg.Rehearsal.credentialPropagation(), GroupClaims: s.cfg.Rehearsal.imdsTokenCache() > 0,
	})
	if err != nil {
		return nil, err
	}

	types := provider.Config{
		Store: s.store, Directory: c.dir, Guard: c.guard, Cloud: s.cloud, Locations: provider.AzureLocations(),
		Now: s.cfg.Now, Logger: s.log, Strict: s.cfg.StrictAzure, Clock: s.clock,
		OperatorTenant: record.TenantID, Keys: c.keys, Clusters: c.clusters, BackupNotes: backupNotes(s.cloud, record, s.cfg.Version),
	}
	view, err := provider.FollowVaults(ctx, types)
	if err != nil {
		return nil, fmt.Errorf("following vaults: %w", err)
	}
	vault, err := keyvault.New(keyvault.Config{
		Store: s.store, Guard: c.guard, Verifier: s.verifier(c, azure.ServiceKeyVault), Audit: s.audit,
		Cloud: s.cloud, Vaults: vaults{view}, Now: s.cfg.Now, Logger: s.log, Strict: s.cfg.StrictAzure,
		MaxBody: s.cfg.Limits.RequestBodyKiB << 10, Tracer: s.tracer,
	})
	if err != nil {
		return nil, err
	}
	s.background = append(s.background, vault.Run)

	// The Resource Manager purges a vault's contents with the vault.
	types.Vaults = vault
	s.background = append(s.background, func(ctx context.Context) { provider.RunVaultPurge(ctx, types) })
	engine, err := arm.New(arm.Config{
		Types: provider.Types(types), Store: s.store, Directory: c.dir, Guard: c.guard,
		Verifier: s.verifier(c, azure.ServiceResourceManager), Cloud: s.cloud, Locations: regions(types.Locations),
		Now: s.cfg.Now, Logger: s.log, Strict: s.cfg.StrictAzure, OperatorTenant: record.TenantID,
		Throttle: s.cfg.Rehearsal.armThrottle(), Tracer: s.tracer,
	})
	if err != nil {
		return nil, err
	}
	s.background = append(s.background, func(ctx context.Context) {
		if err := engine.Run(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("long-running operations are no longer carried on by this replica", "error", err)
		}
	})
	people, err := s.openGraph(c)
	if err != nil {
		return nil, err
	}
	s.agents, err = cluster.NewChannel(cluster.ChannelConfig{
		Clusters: c.clusters, Directory: c.dir, Issuers: c.issuers, Logger: s.log, Registerer: reg,
	})
	if err != nil {
		return nil, err
	}
	return map[plane]http.Handler{
		planeEntra: login, planeARM: engine, planeKeyVault: vault, planeGraph: people,
		planeIssuers: c.clusters.Documents(), planeAgents: s.agents,
	}, nil
}

// openGraph makes the plane of the directory.
func (s *Server) openGraph(c core) (http.Handler, error) {
	return graph.New(graph.Config{
		Store: s.store, Directory: c.dir, Guard: c.guard, Audit: s.audit, Verifier: s.verifier(c, azure.ServiceGraph),
		Cloud: s.cloud, Now: s.cfg.Now, Logger: s.log, Strict: s.cfg.StrictAzure, Tracer: s.tracer,
	})
}

// regions gives the names of the locations that resources can lie in.
func regions(locations []provider.Location) []string {
	var names []string
	for _, l := range locations {
		if !l.Logical {
			names = append(names, l.Name)
		}
	}
	return names
}

// verifier checks access tokens for one service.
func (s *Server) verifier(c core, service string) *token.Verifier {
	return token.NewVerifier(c.keys, s.cloud, s.cloud.Service(service), s.cfg.Now)
}

// vaults tells the Key Vault plane of the vaults that the Resource Manager
// keeps: neither knows the other's types.
type vaults struct{ view *provider.VaultView }

// Vault gives the vault with the folded name.
func (v vaults) Vault(name string) (keyvault.Vault, bool) {
	f, ok := v.view.Vault(name)
	if !ok {
		return keyvault.Vault{}, false
	}
	out := keyvault.Vault{
		Name: f.Name, Instance: f.Instance, ID: f.ID, TenantID: f.TenantID, Location: f.Location, Geography: f.Geography,
		RBAC: f.RBAC, RetentionDays: f.RetentionDays, PurgeProtection: f.PurgeProtection,
		Network: keyvault.Network{Disabled: f.NetworkDisabled, Deny: f.NetworkDeny, Allow: f.NetworkAllow},
	}
	for _, p := range f.AccessPolicies {
		out.AccessPolicies = append(out.AccessPolicies, keyvault.AccessPolicy(p))
	}
	return out, true
}
