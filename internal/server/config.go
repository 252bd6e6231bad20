package server

import (
	"log/slog"
	"time"
)

// Config is the configuration of a cloud, and its reference: `lanyard serve
// --config FILE` reads it from YAML with the field names given in the tags;
// `lanyard up` makes one from its flags and [UpDefaults]. A field that is not
// listed here is an error.
//
// Durations are written as Go writes them ("90s", "1h30m"). Relative paths are
// relative to the process's working directory.
type Config struct {
	// Listen is the address of the one HTTPS port, "HOST:PORT". An empty host
	// listens on every address. Port 0 chooses a free port on the first start
	// and keeps it in the data directory, since issuers and vault URIs carry
	// it; when it is taken on a later start, that start fails.
	// Default: "127.0.0.1:0".
	Listen string `json:"listen"`
	// PublicPort is the port in URLs, issuers and DNS suffixes where clients
	// come by another one than Listen's: that of a load balancer.
	// Default: the port that Listen got.
	PublicPort int `json:"publicPort"`
	// Domain is the parent of every host name: login.D, management.D,
	// {vault}.vault.D. All replicas must agree on it. Default:
	// "lanyard.localhost".
	Domain string `json:"domain"`
	// Aliases are Azure's own names under which the cloud answers too:
	// login-us.microsoftonline.com, login.microsoftonline.com,
	// login.microsoftonline.us, login.microsoft.com, login.windows.net,
	// sts.windows.net, management.azure.com, graph.microsoft.com and
	// *.vault.azure.net. Whoever resolves such a name to this cloud and trusts
	// its authority is led here and not to Azure. Changing the list issues the authority's certificate
	// anew: its name constraints cover the domain and the aliases alone.
	// Default: none (`lanyard up`: login-us.microsoftonline.com).
	Aliases []string `json:"aliases"`

	// DataDir holds the embedded store, the kept port, the CA certificate, the
	// audit log and the environment file. It is made with mode 0700. Required.
	DataDir string `json:"dataDir"`
	// EnvFile is where the environment file is written once the cloud is ready,
	// with mode 0600. Default: "env.json" in DataDir.
	EnvFile string `json:"envFile"`

	// Store says where state is kept. Default: the embedded engine, in DataDir.
	Store StoreConfig `json:"store"`
	// SealingKeyFile holds the keys that seal secrets in the store: one base64
	// key of 32 bytes per line, the newest first; the first seals and all open.
	// The environment variable LANYARD_SEALING_KEY, in the same form, takes the
	// file's place. The file must lie outside DataDir, so that a copy of the
	// data alone opens nothing. Required, unless the variable is set.
	SealingKeyFile string `json:"sealingKeyFile"`
	// OwnSealingKey makes the sealing key on the first start and keeps it in
	// DataDir with mode 0600: the choice of `lanyard up`, which no file can make.
	OwnSealingKey bool `json:"-"`

	// TLS brings a certificate of the operator's. Default: the cloud's own
	// certificate authority.
	TLS TLSConfig `json:"tls"`

	// IssuerAllow lists address ranges (CIDR) in which issuers of federated
	// credentials may lie although they are private, loopback or otherwise
	// special. Default: none; public addresses are always allowed.
	IssuerAllow []string `json:"issuerAllow"`
	// IssuerCAFile holds PEM certificates that issuers' servers are verified
	// with, beside the system's. Default: the system's alone.
	IssuerCAFile string `json:"issuerCAFile"`

	// StrictAzure refuses every extension of Lanyard's and turns on Azure's
	// limits, delays and less helpful errors. Each delay and throttle under
	// Rehearsal can be switched off all the same. Default: false.
	StrictAzure bool `json:"strictAzure"`
	// Rehearsal has the cloud take Azure's time and refuse what is too much for
	// Azure.
	Rehearsal RehearsalConfig `json:"rehearsal"`

	// AuditLog configures the record of every decision and every issued token.
	AuditLog AuditLogConfig `json:"auditLog"`
	// Bootstrap names what the first start makes.
	Bootstrap BootstrapConfig `json:"bootstrap"`
	// Limits bound what one request may cost.
	Limits LimitsConfig `json:"limits"`
	// Metrics configures where metrics are served.
	Metrics MetricsConfig `json:"metrics"`
	// Tracing sends traces of requests to a collector.
	Tracing TracingConfig `json:"tracing"`
	// IMDS configures an instance metadata service for development.
	IMDS IMDSConfig `json:"imds"`
	// Proxy configures the loopback proxy for clients without DNS.
	Proxy ProxyConfig `json:"proxy"`

	// LogLevel is "debug", "info", "warn" or "error". Default: "info".
	LogLevel string `json:"logLevel"`
	// LogFormat is "text" or "json". Default: "json".
	LogFormat string `json:"logFormat"`

	// ShutdownDelay is how long the cloud goes on serving, with /readyz failing,
	// after it was told to stop, so that load balancers notice. Default: 0.
	ShutdownDelay Duration `json:"shutdownDelay"`
	// ShutdownGrace is how long running requests may take after that before
	// their connections are cut. Default: 10s.
	ShutdownGrace Duration `json:"shutdownGrace"`

	// Logger receives the logs. It is set by programs, never by the file.
	// Default: discarded.
	Logger *slog.Logger `json:"-"`
	// Now is the clock. It is set by programs, never by the file.
	// Default: time.Now.
	Now func() time.Time `json:"-"`
	// TestClock lets those who manage access at the operator's tenant's root put
	// the cloud's clock ahead of Now: Lanyard.Directory/clock. Certificates of
	// this process's listeners go by Now all the same. It is set by programs
	// (`lanyard up --clock`), never by the file. Default: false.
	TestClock bool `json:"-"`
	// Version is what metrics say that runs. It is set by programs, never by
	// the file. Default: "unknown".
	Version string `json:"-"`
}

// StoreConfig says where state is kept: without Endpoints in the embedded
// engine in the data directory (one process), with them in an outside etcd
// cluster (any number of replicas).
type StoreConfig struct {
	// Endpoints are the client URLs of an etcd cluster.
	Endpoints []string `json:"endpoints"`
	// TLS is needed for https endpoints with a private authority or client
	// certificates.
	TLS StoreTLSConfig `json:"tls"`
	// Plaintext allows http endpoints on other machines: whoever is on the
	// network between can then read and change the cloud's state. Default:
	// false; http is for loopback endpoints alone.
	Plaintext bool `json:"plaintext"`
	// Username authenticates to etcd by password. Default: none.
	Username string `json:"username"`
	// PasswordFile holds the password; one trailing newline is ignored.
	PasswordFile string `json:"passwordFile"`
	// Prefix is put before every key. Default: "/lanyard/".
	Prefix string `json:"prefix"`
	// QuotaMiB bounds the embedded engine's size, in MiB; when it is reached,
	// writes fail until space was freed. Default: 2048.
	QuotaMiB int64 `json:"quotaMiB"`
	// Retention is how long old revisions are kept before they are compacted.
	// Default: 1h.
	Retention Duration `json:"retention"`
	// Volatile leaves it to the system when the embedded engine's writes reach
	// the disk, for clouds that end with their process. It is set by programs,
	// never by the file. Default: false; what was answered is on the disk.
	Volatile bool `json:"-"`
}

// StoreTLSConfig is TLS towards the etcd cluster. All files are PEM.
type StoreTLSConfig struct {
	// CAFile verifies the servers. Default: the system's authorities.
	CAFile string `json:"caFile"`
	// CertFile authenticates this client, together with KeyFile. Default: none.
	CertFile string `json:"certFile"`
	// KeyFile belongs to CertFile.
	KeyFile string `json:"keyFile"`
	// ServerName is verified in place of the endpoints' host names.
	ServerName string `json:"serverName"`
}

// TLSConfig brings a certificate of the operator's. All files are PEM and are
// read again when they change.
type TLSConfig struct {
	// CertFile is the certificate chain, for the domain, "*.D", "*.vault.D" and
	// the aliases. Default: the cloud's own authority signs.
	CertFile string `json:"certFile"`
	// KeyFile is the private key of CertFile.
	KeyFile string `json:"keyFile"`
	// CAFile is what clients verify CertFile with; the environment file names a
	// copy of it. Default: CertFile.
	CAFile string `json:"caFile"`
}

// AuditLogConfig configures the audit log.
type AuditLogConfig struct {
	// Path is the file, opened for appending with mode 0600.
	// Default: "audit.log" in DataDir.
	Path string `json:"path"`
	// OnFull says what happens when a record cannot be kept: "refuse" answers
	// with an error and decides nothing, "continue" counts the loss and goes
	// on. Default: "refuse".
	OnFull string `json:"onFull"`
}

// BootstrapConfig names what the first start makes. The ids have no effect later.
type BootstrapConfig struct {
	// TenantID is the first tenant's GUID. Default: random.
	TenantID string `json:"tenantId"`
	// SubscriptionID is the first subscription's GUID. Default: random.
	SubscriptionID string `json:"subscriptionId"`
	// RenewSecret makes a new secret for the bootstrap application on this
	// start and ends the old ones: for when the environment file that held the
	// secret was lost. Default: false.
	RenewSecret bool `json:"renewSecret"`
}

// LimitsConfig bounds what one request may cost.
type LimitsConfig struct {
	// RequestBodyKiB is the largest request body, in KiB. Default: 4096, which
	// is Azure Resource Manager's.
	RequestBodyKiB int64 `json:"requestBodyKiB"`
	// HeaderTimeout is how long a client may take to send a request's head.
	// Default: 10s.
	HeaderTimeout Duration `json:"headerTimeout"`
	// RequestTimeout is how long a client may take to send a request, and again
	// how long its answer may take. Default: 60s.
	RequestTimeout Duration `json:"requestTimeout"`
	// IdleTimeout closes connections without a request. Default: 2m.
	IdleTimeout Duration `json:"idleTimeout"`
}

// MetricsConfig configures where metrics are served, in Prometheus's text form.
type MetricsConfig struct {
	// Listen is an address, "HOST:PORT", of a plain HTTP listener that serves
	// /metrics, /healthz and /readyz and nothing else. Default: none; /metrics
	// is then served on the HTTPS port under the bare domain, to clients on
	// this machine alone.
	Listen string `json:"listen"`
}

// ProxyConfig configures the loopback proxy.
type ProxyConfig struct {
	// Enabled runs the proxy. Default: false (`lanyard up`: true).
	Enabled bool `json:"enabled"`
}

// Duration is a time.Duration that is written as "90s" or "1h30m".
type Duration time.Duration

// MarshalText writes d as Go does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads "90s", "1h30m".
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}
