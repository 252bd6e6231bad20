package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cluster"
	"github.com/lanyard-id/lanyard/internal/provider"
	"github.com/lanyard-id/lanyard/internal/proxy"
	"github.com/lanyard-id/lanyard/internal/store"
	"github.com/lanyard-id/lanyard/internal/token"
	"github.com/lanyard-id/lanyard/internal/tracing"
)

// Server is one replica of a cloud.
type Server struct {
	cfg   Config
	log   *slog.Logger
	cloud azure.Cloud
	env   Environment
	// now is the clock of this process, cfg.Now that of the cloud. They are the
	// same unless there is a clock that can be put ahead.
	now   func() time.Time
	clock *provider.Clock

	// firstKey is nil unless this is a first start on the embedded store.
	firstKey *token.FirstKey

	store  *store.Store
	audit  *audit.Log
	health *health
	tracer *tracing.Tracer // nil: nothing is traced

	listener net.Listener
	https    *http.Server
	// metrics and its listener are nil unless metrics.listen is set.
	metricsListener net.Listener
	metrics         *http.Server
	// imds and its listener are nil unless imds.listen is set.
	imdsListener net.Listener
	imds         *http.Server
	// proxy is nil unless it is enabled.
	proxy *proxy.Proxy
	// agents is the plane whose answers go on until somebody ends them.
	agents *cluster.Channel

	// background goes on until its context ends: long-running operations,
	// purges.
	background []func(context.Context)

	ready     chan struct{}
	closeOnce sync.Once
	closeErr  error
}

// New builds a cloud from its configuration: every listener is open when it
// returns, and nothing is answered before [Server.Run]. ctx bounds the start
// alone. It fails with [store.ErrInUse] when another process has the data
// directory. A Server that is not run must be closed.
func New(ctx context.Context, cfg Config) (*Server, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Logger, now: cfg.Now, ready: make(chan struct{})}
	if cfg.TestClock {
		s.clock = provider.NewClock(cfg.Now)
		s.cfg.Now = s.clock.Now
	}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// open opens everything, from the data directory outwards.
func (s *Server) open(ctx context.Context) error {
	if err := s.openTracing(ctx); err != nil {
		return err
	}
	if err := s.openStorage(ctx); err != nil {
		return err
	}
	l, err := listen(s.cfg.Listen, s.cfg.DataDir)
	if err != nil {
		return err
	}
	s.listener = l
	s.cloud = azure.Cloud{Domain: s.cfg.Domain, Port: s.cfg.PublicPort, Aliases: s.cfg.Aliases}
	if s.cloud.Port == 0 {
		s.cloud.Port = portOf(l)
	}

	reg := newRegistry(s.cfg.Version)
	reg.MustRegister(s.store.Collectors()...)
	reg.MustRegister(s.audit.Collectors()...)
	c, err := s.openCore(ctx)
	if err != nil {
		return err
	}
	reg.MustRegister(c.guard.Collectors()...)
	boot := &bootstrapper{store: s.store, dir: c.dir, guard: c.guard, cloud: s.cloud, cfg: s.cfg, log: s.log}
	record, bootstrap, err := boot.run(ctx)
	if err != nil {
		return err
	}
	planes, err := s.openPlanes(ctx, c, record, reg)
	if err != nil {
		return err
	}
	certificate, caFile, err := s.openCertificates(ctx)
	if err != nil {
		return err
	}
	if err := s.openProxy(); err != nil {
		return err
	}
	s.health = &health{fresh: s.store.Fresh}
	if err := s.openMetrics(planes, metricsHandler(reg)); err != nil {
		return err
	}
	s.https = s.httpServer(s.tracer.Handler(&front{
		router:  newRouter(s.cloud),
		planes:  planes,
		metrics: newHTTPMetrics(reg),
		tracer:  s.tracer,
		log:     s.log,
		maxBody: s.cfg.Limits.RequestBodyKiB << 10,
	}, isProbe))
	s.https.TLSConfig = tlsConfig(certificate)
	s.https.RegisterOnShutdown(s.agents.Close)
	s.env = s.environment(record, bootstrap, caFile)
	return s.openIMDS()
}

// openStorage opens the data directory, the store and the audit log.
func (s *Server) openStorage(ctx context.Context) error {
	if err := os.MkdirAll(s.cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	ring, keyFile, err := keyring(s.cfg, s.log)
	if err != nil {
		return err
	}
	storeCfg, err := s.storeConfig(ring)
	if err != nil {
		return err
	}
	if storeCfg.Dir != "" {
		if _, err := os.Stat(storeCfg.Dir); errors.Is(err, fs.ErrNotExist) {
			s.firstKey = token.MakeFirstKey(s.cfg.Now) // while the store opens
		}
	}
	if s.store, err = store.Open(ctx, storeCfg); err != nil {
		return err
	}
	s.followSealingKeys(ring, keyFile)
	s.audit, err = audit.Open(audit.Config{
		Path: s.cfg.AuditLog.Path, OnFull: s.cfg.AuditLog.OnFull, Logger: s.log, Now: s.cfg.Now,
	})
	return err
}

// openCertificates gives what answers handshakes, and the file that verifies it.
func (s *Server) openCertificates(ctx context.Context) (certificates, string, error) {
	if s.cfg.TLS.CertFile != "" {
		files, err := OpenCertificateFiles(s.cfg.TLS, s.log)
		if err != nil {
			return nil, "", err
		}
		ca := s.cfg.TLS.CAFile
		if ca == "" {
			ca = s.cfg.TLS.CertFile
		}
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, "", fmt.Errorf("reading the CA certificate: %w", err)
		}
		caFile, err := writeTrust(s.cfg.DataDir, pem)
		return files.GetCertificate, caFile, err
	}
	a, err := openAuthority(ctx, s.store, s.cloud, s.now)
	if err != nil {
		return nil, "", err
	}
	caFile, err := writeTrust(s.cfg.DataDir, a.PEM())
	return a.GetCertificate, caFile, err
}

// openMetrics puts health, and metrics as configured, where they are served.
func (s *Server) openMetrics(planes map[plane]http.Handler, metrics http.Handler) error {
	if s.cfg.Metrics.Listen == "" {
		planes[planeSelf] = s.health.selfHandler(localOnly(metrics))
		return nil
	}
	l, err := net.Listen("tcp", s.cfg.Metrics.Listen)
	if err != nil {
		return fmt.Errorf("the metrics listener: %w", err)
	}
	s.metricsListener = l
	s.metrics = s.httpServer(s.health.selfHandler(metrics))
	planes[planeSelf] = s.health.selfHandler(elsewhere(l.Addr().String()))
	return nil
}

// httpServer gives a server with the configured limits.
func (s *Server) httpServer(h http.Handler) *http.Server {
	limits := s.cfg.Limits
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: time.Duration(limits.HeaderTimeout),
		ReadTimeout:       time.Duration(limits.RequestTimeout),
		WriteTimeout:      2 * time.Duration(limits.RequestTimeout), // from the end of the head: reading, then answering
		IdleTimeout:       time.Duration(limits.IdleTimeout),
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // handshakes that strangers break off
	}
}

// maxHeaderBytes bounds a request's head: an access token with many groups and
// a page's link fit several times over.
const maxHeaderBytes = 64 << 10

// Addr is the HTTPS listener's address.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Cloud gives the names of the cloud.
func (s *Server) Cloud() azure.Cloud { return s.cloud }

// Env is the content of the environment file.
func (s *Server) Env() Environment { return s.env }

// EnvFile is the path of the environment file, which [Server.Run] writes.
func (s *Server) EnvFile() string { return s.cfg.EnvFile }

// Audit is the audit log; the file is where [Config.AuditLog] says.
func (s *Server) Audit() *audit.Log { return s.audit }

// Ready is closed once requests are answered and the environment file is there.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run serves until ctx ends or a listener fails, and then stops in order. It
// returns nil after an orderly stop. The Server cannot be run again.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var tasks sync.WaitGroup
	serve := func(what string, f func() error) {
		tasks.Go(func() {
			if err := f(); err != nil && !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	serve("the HTTPS listener", func() error { return s.https.ServeTLS(s.listener, "", "") })
	if s.metrics != nil {
		serve("the metrics listener", func() error { return s.metrics.Serve(s.metricsListener) })
	}
	if s.imds != nil {
		serve("the metadata service", func() error { return s.imds.Serve(s.imdsListener) })
	}
	if s.proxy != nil {
		serve("the proxy", s.proxy.Serve)
	}
	// Background work outlives ctx: requests that are still under way may wait for it.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var background sync.WaitGroup
	for _, f := range s.background {
		background.Go(func() { f(life) })
	}

	if err := s.env.Write(s.cfg.EnvFile); err != nil {
		cancel(err)
	} else {
		s.health.started.Store(true)
		close(s.ready)
		s.log.Info("the cloud is ready", "listen", s.Addr(), "domain", s.cfg.Domain, "aliases", s.cfg.Aliases, "envFile", s.cfg.EnvFile)
	}
	<-ctx.Done()
	cause := context.Cause(ctx)
	s.log.Info("the cloud is stopping")

	// The order matters. First the world is told: /readyz fails, and load
	// balancers have ShutdownDelay to look elsewhere.
	s.health.stopping.Store(true)
	if errors.Is(cause, context.Canceled) {
		s.linger()
	}
	// Then nothing new is taken, and what is under way is finished; the streams of
	// agents, which go on for ever, are ended (RegisterOnShutdown). The proxy
	// stays meanwhile, since requests come through it; it goes next, and last
	// the listener that tells how all this proceeds.
	err := s.drain()
	tasks.Wait()
	// Now nobody asks any more. Background work stops between two steps, which
	// the store remembers; only then may the audit log and the store close.
	end()
	background.Wait()
	err = errors.Join(err, s.Close())
	if !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	s.log.Info("the cloud has stopped")
	return err
}

// linger goes on serving for ShutdownDelay.
func (s *Server) linger() {
	if s.cfg.ShutdownDelay > 0 {
		timer := time.NewTimer(time.Duration(s.cfg.ShutdownDelay))
		defer timer.Stop()
		<-timer.C
	}
}

// drain closes the listeners and lets running requests finish; those that take
// longer than ShutdownGrace are cut.
func (s *Server) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(s.cfg.ShutdownGrace))
	defer cancel()
	var err error
	if s.imds != nil { // its requests wait for the others
		err = s.imds.Shutdown(ctx)
	}
	err = errors.Join(err, s.https.Shutdown(ctx))
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("requests were cut: they ran longer than the grace for stopping", "grace", time.Duration(s.cfg.ShutdownGrace))
		err = s.https.Close()
	}
	if s.proxy != nil {
		err = errors.Join(err, s.proxy.Close())
	}
	if s.metrics != nil {
		err = errors.Join(err, s.metrics.Close())
	}
	return err
}

// Close frees what New opened: the views end, the audit log is flushed, and the
// store is closed last, which frees the data directory. Run closes by itself;
// another Close does nothing.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		var errs []error
		if s.firstKey != nil {
			s.firstKey.Wait()
		}
		for _, l := range []net.Listener{s.listener, s.metricsListener, s.imdsListener} {
			if l != nil {
				if err := l.Close(); !errors.Is(err, net.ErrClosed) {
					errs = append(errs, err)
				}
			}
		}
		if s.proxy != nil {
			errs = append(errs, s.proxy.Close())
		}
		if s.tracer != nil {
			s.closeTracing()
		}
		if s.audit != nil {
			errs = append(errs, s.audit.Close())
		}
		if s.store != nil {
			errs = append(errs, s.store.Close())
		}
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}
