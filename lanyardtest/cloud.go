package lanyardtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"

	"github.com/lanyard-id/lanyard/internal/server"
)

// Cloud is a running cloud. Its methods may be called from any goroutine that a
// test may fail in.
type Cloud struct {
	// TenantID is the GUID of the cloud's tenant, random like all its identifiers.
	TenantID string
	// SubscriptionID is the GUID of the tenant's subscription.
	SubscriptionID string
	// Endpoints are the cloud's addresses.
	Endpoints Endpoints
	// Bootstrap is the operator: the service principal as which the helpers ask.
	// [Cloud.Operator] is its credential.
	Bootstrap ServicePrincipal

	server *server.Server
	ended  chan error // gets what Run returned
	cancel context.CancelFunc
	strict bool
	base   func() time.Time
	ahead  atomic.Int64 // nanoseconds that the cloud's clock is ahead of base
	audit  string       // the audit log's file

	client  *http.Client
	names   names
	manage  *arm.Client
	issuers issuers

	mu        sync.Mutex // guards what follows
	group     *ResourceGroup
	federated sync.Mutex // held while a federated credential is written
}

// Endpoints are a cloud's addresses. They resolve by the clients of [Cloud] alone.
type Endpoints struct {
	// ResourceManager is the base URL of Azure Resource Manager, without a
	// trailing slash.
	ResourceManager string
	// ActiveDirectory is the authority host of Microsoft Entra: a URL without a
	// trailing slash.
	ActiveDirectory string
	// VaultSuffix follows "{vault}." in the host of a vault's URL. It has no
	// leading dot and ends with the port.
	VaultSuffix string
}

// ServicePrincipal is a client with a secret.
type ServicePrincipal struct {
	// ClientID and ClientSecret sign in: with azidentity.NewClientSecretCredential,
	// say.
	ClientID     string
	ClientSecret string
	// PrincipalID is the object ID, to which roles are assigned.
	PrincipalID string
}

// New starts a cloud and stops it when the test and its subtests are over. It
// fails the test if the cloud does not start, or does not stop in order.
//
// Everything of the cloud is in memory or in a directory of [testing.T.TempDir].
func New(t testing.TB, opts ...Option) *Cloud {
	t.Helper()
	options := options{now: time.Now}
	for _, o := range opts {
		o(&options)
	}
	log := &tail{}
	if options.logger == nil {
		options.logger = log.logger()
	}
	c, err := start(t.Context(), t.TempDir(), options)
	if err != nil {
		log.report(t)
		t.Fatalf("lanyardtest: starting a cloud: %v", err)
	}
	t.Cleanup(func() {
		t.Helper()
		if err := c.stop(); err != nil {
			t.Errorf("lanyardtest: stopping the cloud: %v", err)
		}
		if t.Failed() {
			log.report(t)
		}
	})
	return c
}

// start runs a cloud in dir until stop.
func start(ctx context.Context, dir string, options options) (*Cloud, error) {
	c := &Cloud{
		ended: make(chan error, 1), strict: options.strict, base: options.now, audit: filepath.Join(dir, "audit.log"),
	}
	var rehearsal server.RehearsalConfig
	for _, name := range options.rehearse {
		if err := rehearsal.Enable(name); err != nil {
			return nil, fmt.Errorf("WithRehearsal: %w", err)
		}
	}
	rehearsal.Hurry() // what was not asked for takes no time
	issuerCA, err := c.issuers.certify()
	if err != nil {
		return nil, err
	}
	issuerCAFile := filepath.Join(dir, "issuers.pem")
	if err := os.WriteFile(issuerCAFile, issuerCA, 0o600); err != nil {
		return nil, err
	}
	c.server, err = server.New(ctx, server.Config{
		DataDir: filepath.Join(dir, "data"), OwnSealingKey: true, Store: server.StoreConfig{Volatile: true},
		Aliases:     server.KnownAliases(),
		IssuerAllow: []string{issuerAddress + "/32"}, IssuerCAFile: issuerCAFile,
		StrictAzure: options.strict, Rehearsal: rehearsal, AuditLog: server.AuditLogConfig{Path: c.audit},
		// A test that ends has nothing more to ask for.
		ShutdownGrace: server.Duration(time.Second),
		Logger:        options.logger, Now: c.Now, Version: "lanyardtest",
	})
	if err != nil {
		return nil, err
	}
	if err := c.run(); err != nil {
		return nil, err
	}
	if err := c.describe(); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// run serves in the background, and returns when requests are answered.
func (c *Cloud) run() error {
	// The test's context ends before its clean-up functions run, which may have
	// things to ask.
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	go func() { c.ended <- c.server.Run(ctx) }()
	select {
	case <-c.server.Ready():
		return nil
	case err := <-c.ended:
		cancel()
		return err
	}
}

// describe fills in what the cloud has come to be.
func (c *Cloud) describe() error {
	env := c.server.Env()
	c.TenantID, c.SubscriptionID = env.TenantID, env.SubscriptionID
	c.Endpoints = Endpoints{
		ResourceManager: env.Endpoints.ResourceManager, ActiveDirectory: env.Endpoints.ActiveDirectory,
		VaultSuffix: env.Endpoints.VaultSuffix,
	}
	c.Bootstrap = ServicePrincipal{
		ClientID: env.Bootstrap.ClientID, ClientSecret: env.Bootstrap.ClientSecret, PrincipalID: env.Bootstrap.ObjectID,
	}
	c.names = names{domain: env.Domain, aliases: c.server.Cloud().Aliases}
	var err error
	if c.client, err = c.newClient(env.DialAddress(), env.CAFile); err != nil {
		return err
	}
	c.manage, err = arm.NewClient("lanyardtest", "v1.0.0", c.Operator(), c.ARMClientOptions())
	return err
}

// stop ends the cloud: first whoever could ask it, then itself.
func (c *Cloud) stop() error {
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
	c.cancel()
	return errors.Join(<-c.ended, c.issuers.close())
}

// Now is the time in the cloud: by it tokens and certificates begin and end.
func (c *Cloud) Now() time.Time { return c.base().Add(time.Duration(c.ahead.Load())) }

// Advance moves the cloud's clock ahead: tokens expire, deleted secrets come to
// their end, keys are fetched anew. Timers in the cloud, such as those of
// background work, go on in real time, and so do the test and its clients: a
// client of Azure's SDK goes on using a token for as long as that was good when
// it got it, so make a new client (and, of azidentity, credential) to have
// another one. A negative d panics: time in a cloud does not go back.
func (c *Cloud) Advance(d time.Duration) {
	if d < 0 {
		panic(fmt.Sprintf("lanyardtest: Advance(%s): a cloud's time does not go back", d))
	}
	c.ahead.Add(int64(d))
}

// Operator gives the credential of the operator, [Cloud.Bootstrap]: an Owner at
// the tenant's root, who can manage everything and, as on Azure, read no data.
// Every call gives one without any token yet.
func (c *Cloud) Operator() azcore.TokenCredential {
	return c.newCredential(c.Bootstrap.ClientID, secret(c.Bootstrap.ClientSecret))
}
