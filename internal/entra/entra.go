package entra

import (
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/token"
	"github.com/lanyard-id/lanyard/internal/tracing"
)

// Config configures [New]. Directory, Keys, Issuers, Audit, Fresh and Cloud are
// required.
type Config struct {
	// Directory knows tenants, clients, their credentials and the resources
	// that tokens can be asked for.
	Directory *directory.Directory
	// Keys sign the tokens.
	Keys *token.Keys
	// Issuers verify the assertions of federated credentials.
	Issuers *token.Issuers
	// Audit takes a record of every token issued or refused. When it cannot,
	// and is configured to refuse, no token leaves.
	Audit *audit.Log
	// Fresh tells whether the directory's view follows the store closely enough
	// to be decided upon ((*store.Store).Fresh). While it gives an error, every
	// token request is answered with 503.
	Fresh func() error
	// Guard decides who may act as an identity, in the token exchange. Nil, or
	// Strict, leaves that grant out: it is not one of Entra's.
	Guard *rbac.Guard
	// Cloud gives the names of the token service and its issuers.
	Cloud azure.Cloud
	// DefaultTenant is the identifier of the tenant that the /adfs paths stand
	// for, since they name none. Empty: the only tenant, where there is just
	// one; else those paths are refused with AADSTS90019.
	DefaultTenant string
	// Now is the clock of token and assertion lifetimes; nil is time.Now.
	Now func() time.Time
	// Logger takes faults of the service and, at debug level, each refusal; nil
	// discards.
	Logger *slog.Logger
	// Strict keeps error descriptions to Entra's own words, and expressions of
	// federated credentials to the clients, issuers and claims of Azure's list.
	// Otherwise some descriptions say, after Entra's words, how to mend the
	// mistake, and any client may trust any issuer by an expression.
	Strict bool
	// CredentialPropagation is how long after it was written a federated
	// credential is known here. Until then an assertion that it would accept gets
	// AADSTS70021, as on Azure for seconds to minutes. Default: 0, at once.
	CredentialPropagation time.Duration
	// GroupClaims puts the groups of a managed identity into its tokens, at most
	// 200. It goes with the guard's TokenGroups. Default: false.
	GroupClaims bool
	// Tracer records the steps of traced token requests; nil: none.
	Tracer *tracing.Tracer
	// Registerer takes the metrics lanyard_tokens_total (by grant, credential
	// and result) and lanyard_token_request_duration_seconds (by grant); nil
	// keeps them unregistered.
	Registerer prometheus.Registerer
}

// Handler is the token service, for every host of [Hosts].
type Handler struct {
	directory     *directory.Directory
	keys          *token.Keys
	issuers       *token.Issuers
	audit         *audit.Log
	fresh         func() error
	cloud         azure.Cloud
	hosts         []string
	defaultTenant string
	now           func() time.Time
	log           *slog.Logger
	strict        bool
	propagation   time.Duration
	groupClaims   bool
	metrics       *metrics
	tracer        *tracing.Tracer
	// The routes below a tenant, below /adfs, and below /common or
	// /organizations.
	tenantRoutes, adfsRoutes, commonRoutes map[string]route
	grants                                 map[string]*grant
	// services are the application IDs of the cloud's own resources. Their tokens
	// say what the client is capable of; those for applications do so on Azure
	// where the application asks for that claim, which it cannot do here.
	services map[string]bool
	// exchange verifies this cloud's own tokens where one is presented as a
	// federated assertion.
	exchange *token.Verifier
	// guard decides on the token exchange; actors verifies the token of who asks.
	guard  *rbac.Guard
	actors *token.Verifier
}

// New gives the token service. It fails when a required field of cfg is
// missing or when the metrics are already registered.
func New(cfg Config) (*Handler, error) {
	if cfg.Directory == nil || cfg.Keys == nil || cfg.Issuers == nil || cfg.Audit == nil || cfg.Fresh == nil {
		return nil, errors.New("entra: Directory, Keys, Issuers, Audit and Fresh are required")
	}
	if cfg.Cloud.Domain == "" {
		return nil, errors.New("entra: Cloud.Domain is required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	services := map[string]bool{}
	for _, s := range cfg.Cloud.Services() {
		services[s.AppID] = true
	}
	return &Handler{
		directory:     cfg.Directory,
		keys:          cfg.Keys,
		issuers:       cfg.Issuers,
		audit:         cfg.Audit,
		fresh:         cfg.Fresh,
		cloud:         cfg.Cloud,
		hosts:         Hosts(cfg.Cloud),
		defaultTenant: cfg.DefaultTenant,
		now:           cfg.Now,
		log:           cfg.Logger,
		strict:        cfg.Strict,
		propagation:   cfg.CredentialPropagation,
		groupClaims:   cfg.GroupClaims,
		metrics:       m,
		tracer:        cfg.Tracer,
		tenantRoutes:  tenantRoutes(),
		adfsRoutes:    adfsRoutes(),
		commonRoutes:  commonRoutes(),
		grants:        grants(cfg.Guard != nil && !cfg.Strict),
		guard:         cfg.Guard,
		actors:        token.NewVerifier(cfg.Keys, cfg.Cloud, cfg.Cloud.Service(azure.ServiceResourceManager), cfg.Now),
		services:      services,
		exchange:      token.NewVerifier(cfg.Keys, cfg.Cloud, cfg.Cloud.Service(azure.ServiceTokenExchange), cfg.Now),
	}, nil
}
