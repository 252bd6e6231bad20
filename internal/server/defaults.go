package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// UpDefaults is the configuration of `lanyard up` on a data directory: the
// embedded store, the loopback proxy, and the one alias that makes unmodified
// SDKs work while Azure's real login host stays reachable.
func UpDefaults(dataDir string) Config {
	return Config{
		DataDir:       dataDir,
		Aliases:       []string{"login-us.microsoftonline.com"},
		Proxy:         ProxyConfig{Enabled: true},
		OwnSealingKey: true,
		LogFormat:     "text",
	}
}

// domainPattern is a DNS name of at least two labels (TLS libraries refuse the
// wildcard "*.label"), the last of which begins with a letter, so that no IP
// address is taken for a domain.
var domainPattern = regexp.MustCompile(`^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)

// complete fills in the defaults and checks every field, and reports all
// mistakes at once.
func (c Config) complete() (Config, error) {
	setDefault(&c.Listen, "127.0.0.1:0")
	setDefault(&c.Version, "unknown")
	setDefault(&c.Domain, "lanyard.localhost")
	setDefault(&c.LogLevel, "info")
	setDefault(&c.LogFormat, "json")
	setDefault(&c.AuditLog.OnFull, "refuse")
	setDefault(&c.Store.Prefix, "/lanyard/")
	setDefault(&c.Store.QuotaMiB, 2048)
	setDefault(&c.Store.Retention, Duration(time.Hour))
	setDefault(&c.Limits.RequestBodyKiB, 4096)
	setDefault(&c.Limits.HeaderTimeout, Duration(10*time.Second))
	setDefault(&c.Limits.RequestTimeout, Duration(time.Minute))
	setDefault(&c.Limits.IdleTimeout, Duration(2*time.Minute))
	setDefault(&c.ShutdownGrace, Duration(10*time.Second))
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Domain = azure.Fold(strings.TrimSuffix(c.Domain, "."))

	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("field %q: %s", field, fmt.Sprintf(format, args...)))
	}
	if c.DataDir == "" {
		bad("dataDir", "is required: a directory for the store, the certificates and the environment file")
	} else if dir, err := filepath.Abs(c.DataDir); err != nil {
		bad("dataDir", "%v", err)
	} else {
		c.DataDir = dir
		setDefault(&c.EnvFile, filepath.Join(dir, envFileName))
		setDefault(&c.AuditLog.Path, filepath.Join(dir, "audit.log"))
	}
	if err := c.IMDS.check(); err != nil {
		bad("imds", "%v", err)
	}
	if err := checkListen(c.Listen); err != nil {
		bad("listen", "%v", err)
	}
	if c.Metrics.Listen != "" {
		if err := checkListen(c.Metrics.Listen); err != nil {
			bad("metrics.listen", "%v", err)
		}
	}
	if c.PublicPort < 0 || c.PublicPort > 65535 {
		bad("publicPort", "%d is no port: want 1 to 65535, or nothing for the port of listen", c.PublicPort)
	}
	if len(c.Domain) > 200 || !domainPattern.MatchString(c.Domain) {
		bad("domain", "%q: want a DNS name of two labels or more, such as lanyard.localhost", c.Domain)
	}
	for _, a := range aliases {
		if name := strings.TrimPrefix(a.name, "*."); c.Domain == name || strings.HasSuffix(c.Domain, "."+name) {
			bad("domain", "%q is Azure's own name: list it under aliases", c.Domain)
		}
	}
	names, err := checkAliases(c.Aliases)
	if err != nil {
		bad("aliases", "%v", err)
	}
	c.Aliases = names
	for _, cidr := range c.IssuerAllow {
		if _, _, err := IssuerTrust([]string{cidr}, ""); err != nil {
			bad("issuerAllow", "%v", err)
		}
	}
	c.Rehearsal.complete(c.StrictAzure, bad)
	c.Tracing.check(bad)
	c.checkFiles(bad)
	c.checkChoices(bad)
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return c, errors.Join(errs...)
}

// checkFiles checks fields that name files, which must come together.
func (c *Config) checkFiles(bad func(field, format string, args ...any)) {
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		bad("tls", "certFile and keyFile are needed together")
	}
	if c.TLS.CertFile == "" && c.TLS.CAFile != "" {
		bad("tls.caFile", "is of use with certFile and keyFile only: without them the cloud's own authority is used")
	}
	if (c.Store.TLS.CertFile == "") != (c.Store.TLS.KeyFile == "") {
		bad("store.tls", "certFile and keyFile are needed together")
	}
	if c.Store.Username != "" && c.Store.PasswordFile == "" {
		bad("store.passwordFile", "is required with store.username")
	}
	if c.SealingKeyFile == "" && !c.OwnSealingKey && os.Getenv(SealingKeyVariable) == "" {
		bad("sealingKeyFile", "is required, or the environment variable %s: make a key with `head -c 32 /dev/urandom | base64` "+
			"and keep it outside the data directory", SealingKeyVariable)
	}
	if len(c.Store.Endpoints) == 0 && (c.Store.Username != "" || c.Store.TLS != StoreTLSConfig{}) {
		bad("store.endpoints", "is required with store.username and store.tls: the embedded engine needs neither")
	}
}

// checkChoices checks fields with a fixed set or range of values.
func (c *Config) checkChoices(bad func(field, format string, args ...any)) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		bad("logLevel", "%q is none of debug, info, warn, error", c.LogLevel)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		bad("logFormat", "%q is neither text nor json", c.LogFormat)
	}
	if c.AuditLog.OnFull != "refuse" && c.AuditLog.OnFull != "continue" {
		bad("auditLog.onFull", "%q is neither refuse nor continue", c.AuditLog.OnFull)
	}
	for field, id := range map[string]string{
		"bootstrap.tenantId": c.Bootstrap.TenantID, "bootstrap.subscriptionId": c.Bootstrap.SubscriptionID,
	} {
		if id != "" && !azure.IsGUID(id) {
			bad(field, "%q is no GUID", id)
		}
	}
	for field, d := range map[string]Duration{
		"limits.headerTimeout": c.Limits.HeaderTimeout, "limits.requestTimeout": c.Limits.RequestTimeout,
		"limits.idleTimeout": c.Limits.IdleTimeout, "shutdownGrace": c.ShutdownGrace,
		"store.retention": c.Store.Retention,
	} {
		if d <= 0 {
			bad(field, "%s: want a positive duration", time.Duration(d))
		}
	}
	if c.ShutdownDelay < 0 {
		bad("shutdownDelay", "%s: want zero or a positive duration", time.Duration(c.ShutdownDelay))
	}
	if c.Limits.RequestBodyKiB < 64 || c.Limits.RequestBodyKiB > 64<<10 {
		bad("limits.requestBodyKiB", "%d: want 64 to 65536", c.Limits.RequestBodyKiB)
	}
	if c.Store.QuotaMiB < 16 {
		bad("store.quotaMiB", "%d: want at least 16", c.Store.QuotaMiB)
	}
}

// checkListen checks the form of "HOST:PORT".
func checkListen(listen string) error {
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("%q: want HOST:PORT", listen)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q: the port is no number from 0 to 65535", listen)
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
