package serving

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Certificates are a server's certificate and who keeps it: Files or a Keeper.
type Certificates interface {
	// Certificate is tls.Config's GetCertificate.
	Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Missing says what is needed before the server can be used.
	Missing() []string
	// Run keeps the certificate until ctx ends.
	Run(ctx context.Context)
}

// Config is all that servers are made from.
type Config struct {
	// Name is what the main server is called in logs, errors and Addr.
	Name string
	// Addr, HealthAddr and MetricsAddr are host:port to listen on. An empty
	// health or metrics address, or "0", goes without.
	Addr, HealthAddr, MetricsAddr string
	// Handler answers on Addr.
	Handler http.Handler
	// Certificates are those of Addr.
	Certificates Certificates
	// TLSMinVersion is a constant of crypto/tls; TLS 1.3 when 0.
	TLSMinVersion uint16
	// HTTP2 lets clients of Addr speak it.
	HTTP2 bool
	// Missing says what else the server needs before it can be used; it may be nil.
	Missing func() []string
	// Metrics is what the metrics address gives.
	Metrics prometheus.Gatherer
	Log     *slog.Logger
}

// Servers are a role's listeners and what answers on them.
type Servers struct {
	log          *slog.Logger
	certificates Certificates
	servers      []server
}

// server is one listener and what answers on it.
type server struct {
	name     string
	listener net.Listener
	http     *http.Server
}

// Listen opens the listeners, so that a taken address is known at once. Run
// serves them.
func Listen(c Config) (*Servers, error) {
	s := &Servers{log: c.Log, certificates: c.Certificates}
	tlsConfig := &tls.Config{MinVersion: c.TLSMinVersion, GetCertificate: c.Certificates.Certificate, NextProtos: []string{"http/1.1"}}
	if c.HTTP2 {
		tlsConfig.NextProtos = []string{"h2", "http/1.1"}
	}
	if tlsConfig.MinVersion == 0 {
		tlsConfig.MinVersion = tls.VersionTLS13
	}
	metrics := http.NewServeMux()
	metrics.Handle("GET /metrics", promhttp.HandlerFor(c.Metrics, promhttp.HandlerOpts{}))
	for _, one := range []struct {
		name, addr string
		handler    http.Handler
		tls        *tls.Config
	}{
		{c.Name, c.Addr, c.Handler, tlsConfig},
		{"health", c.HealthAddr, health{c.Certificates, c.Missing}.handler(), nil},
		{"metrics", c.MetricsAddr, metrics, nil},
	} {
		if one.tls == nil && (one.addr == "" || one.addr == "0") {
			continue
		}
		l, err := net.Listen("tcp", one.addr)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("listening for %s: %w", one.name, err)
		}
		protocols := new(http.Protocols)
		protocols.SetHTTP1(true)
		if one.tls != nil {
			protocols.SetHTTP2(c.HTTP2)
			l = tls.NewListener(limitConnections(l, mainConnections), one.tls)
		} else {
			l = limitConnections(l, otherConnections)
		}
		s.servers = append(s.servers, server{one.name, l, &http.Server{
			Handler: one.handler, Protocols: protocols,
			ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second,
			// Longer than the API server keeps a connection, so that it is
			// never the one that finds it closed.
			IdleTimeout: 3 * time.Minute, MaxHeaderBytes: 64 << 10,
			ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
		}})
	}
	return s, nil
}

// Close closes listeners that Run will not serve.
func (s *Servers) Close() {
	for _, one := range s.servers {
		one.listener.Close()
	}
}

// Addr gives the address of a listener: Config.Name's, "health" or "metrics"; nil
// for one that there is not.
func (s *Servers) Addr(name string) net.Addr {
	for _, one := range s.servers {
		if one.name == name {
			return one.listener.Addr()
		}
	}
	return nil
}

// stopTimeout is how long a stop waits for requests that are being answered.
const stopTimeout = 10 * time.Second

// Run serves until ctx ends, beside it keeps the certificate and runs the work
// given, which ends with its context; then it lets running requests finish. It
// gives the first error of a server, nil after an ordered stop.
func (s *Servers) Run(ctx context.Context, work ...func(context.Context)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	for _, f := range append(work, s.certificates.Run) {
		running.Go(func() { f(ctx) })
	}
	for _, one := range s.servers {
		running.Go(func() {
			if err := one.http.Serve(one.listener); !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("serving %s: %w", one.name, err))
			}
		})
	}
	<-ctx.Done()
	// The health server goes after the main one: until then it says that this
	// one stops.
	stopping, done := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer done()
	for _, one := range s.servers {
		if err := one.http.Shutdown(stopping); err != nil {
			s.log.WarnContext(ctx, "requests were cut off", "server", one.name, "error", errors.Join(err, one.http.Close()))
		}
	}
	running.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
