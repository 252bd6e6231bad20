package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lanyard-id/lanyard/internal/tracing"
)

// Config configures Open. Exactly one of Dir and Endpoints is set.
type Config struct {
	// Dir is the embedded engine's directory. It is made if absent, and its
	// mode is set to 0700. One process may have it open.
	Dir string
	// Endpoints are the members of an outside etcd cluster, as URLs or
	// host:port. An endpoint without TLS must be on the loopback interface or a
	// unix socket, unless Plaintext is set.
	Endpoints []string
	// TLS is for the outside cluster. When it is nil and the endpoints are
	// https, the system's roots are trusted.
	TLS *tls.Config
	// Plaintext allows endpoints without TLS that are not on this machine.
	Plaintext bool
	// Username and Password authenticate to the outside cluster.
	Username string
	Password string
	// Prefix starts every key in etcd; it ends with a slash, which is added if
	// absent. Default "/lanyard/".
	Prefix string
	// Keyring seals values. Required.
	Keyring *Keyring
	// QuotaBytes bounds what the embedded engine's database may hold, the past
	// that is still kept included; beyond it writes other than deletes fail with
	// ErrQuota. Default 2 GiB. An outside cluster has its own.
	QuotaBytes int64
	// Volatile leaves it to the system when the embedded engine's writes reach
	// the disk: a crash of the machine may lose them, or damage the whole store.
	// It is for stores that end with their process, as a test's do. Default:
	// what Update has written is on the disk.
	Volatile bool
	// Retention is for how long past revisions stay readable. Older ones are
	// compacted, in an outside cluster too. Default 1 h; negative: never.
	Retention time.Duration
	// StaleAfter is how old views may be before Fresh fails. Default 10 s.
	StaleAfter time.Duration
	// Logger takes the engine's warnings and the store's own. Default: none.
	Logger *slog.Logger
	// Tracer records the transactions of traced requests; nil: none.
	Tracer *tracing.Tracer
	// Now is the clock by which Fresh tells the views' age. The default,
	// time.Now, is immune to changes of the wall clock.
	Now func() time.Time
}

// The defaults of Config.
const (
	DefaultPrefix     = "/lanyard/"
	DefaultQuotaBytes = 2 << 30
	DefaultRetention  = time.Hour
	DefaultStaleAfter = 10 * time.Second
)

func (cfg *Config) setDefaults() error {
	if (cfg.Dir == "") == (len(cfg.Endpoints) == 0) {
		return errors.New("store: set either the data directory or the endpoints of an etcd cluster")
	}
	if cfg.Keyring == nil {
		return errors.New("store: a keyring is required")
	}
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if !strings.HasSuffix(cfg.Prefix, "/") {
		cfg.Prefix += "/"
	}
	if cfg.QuotaBytes == 0 {
		cfg.QuotaBytes = DefaultQuotaBytes
	}
	if cfg.QuotaBytes < 0 {
		return fmt.Errorf("store: a quota of %d bytes is not possible", cfg.QuotaBytes)
	}
	if cfg.Retention == 0 {
		cfg.Retention = DefaultRetention
	}
	if cfg.StaleAfter == 0 {
		cfg.StaleAfter = DefaultStaleAfter
	}
	if cfg.StaleAfter < 0 {
		return fmt.Errorf("store: views can't be required to be %s old", cfg.StaleAfter)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return nil
}

// Store is an open store. Its methods may be called from any goroutine.
type Store struct {
	cfg     Config
	log     *slog.Logger
	client  *clientv3.Client
	engine  *engine // nil with an outside cluster
	keys    keyspace
	views   *views
	metrics *metrics

	// contended is held by the one transaction of this process that has lost
	// several times, so that losers don't go on beating each other.
	contended chan struct{}

	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc
	tasks  sync.WaitGroup // background goroutines

	mu      sync.Mutex
	closed  bool
	calls   int           // calls in progress
	drained chan struct{} // closed when closed and calls == 0
	done    chan struct{} // closed when Close has finished
}

// Open opens the store; it returns when reads and writes work and Fresh is nil.
// ctx bounds the opening only. It fails with ErrInUse when another process has
// the data directory.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	s := &Store{
		cfg:       cfg,
		log:       cfg.Logger,
		keys:      keyspace{prefix: cfg.Prefix},
		metrics:   newMetrics(),
		contended: make(chan struct{}, 1),
		drained:   make(chan struct{}),
		done:      make(chan struct{}),
	}
	var err error
	if cfg.Dir != "" {
		s.engine, err = startEngine(ctx, &cfg)
		if err != nil {
			return nil, err
		}
		s.client = s.engine.client()
	} else if s.client, err = dial(&cfg); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// start makes a dialled store usable: it checks the layout and starts the
// background goroutines.
func (s *Store) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := s.checkLayout(ctx); err != nil {
		if s.engine == nil {
			return fmt.Errorf("reaching etcd at %v: %w", s.cfg.Endpoints, err)
		}
		return fmt.Errorf("reading the store in %s: %w", s.cfg.Dir, err)
	}
	if s.engine != nil {
		// The directory's lock is ours alone, so every holder of a leased lock
		// in it is dead.
		if _, err := s.client.Delete(ctx, s.keys.locks(), clientv3.WithPrefix()); err != nil {
			return fmt.Errorf("clearing the locks of a former process: %w", err)
		}
	}
	v, err := newViews(ctx, s)
	if err != nil {
		return fmt.Errorf("starting the views: %w", err)
	}
	s.views = v
	s.tasks.Go(func() { v.run(s.ctx) })
	if err := v.prove(ctx); err != nil {
		return fmt.Errorf("starting the views: %w", err)
	}
	s.tasks.Go(func() { v.heartbeat(s.ctx) })
	s.tasks.Go(func() { s.maintain(s.ctx) })
	return nil
}

// openTimeout bounds the reading of the whole state, at Open and later, against
// a cluster that never answers.
const openTimeout = 30 * time.Second

// Close ends the views, gives back the locks, stops the embedded engine and
// frees its directory. Calls in progress end with ErrClosed, as do later ones.
// A second Close waits for the first.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.done
		return nil
	}
	s.closed = true
	if s.calls == 0 {
		close(s.drained)
	}
	s.mu.Unlock()
	defer close(s.done)

	s.cancel()
	if s.views != nil {
		s.views.close()
	}
	<-s.drained
	s.tasks.Wait()
	err := s.client.Close()
	if errors.Is(err, context.Canceled) { // what an orderly close gives
		err = nil
	}
	if s.engine != nil {
		err = errors.Join(err, s.engine.close())
	}
	if err != nil {
		return fmt.Errorf("closing the store: %w", err)
	}
	return nil
}

// begin admits a call: the context that it gives ends with the caller's and
// when the store closes. The function that it gives must be called at the end. A
// call whose context has ended is not begun: etcd would look at the context and at
// the request at once, and might take the request.
func (s *Store) begin(ctx context.Context) (context.Context, func(), error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, nil, ErrClosed
	}
	if ctx.Err() != nil {
		s.mu.Unlock()
		return nil, nil, context.Cause(ctx)
	}
	s.calls++
	s.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.ctx, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
		s.mu.Lock()
		s.calls--
		if s.closed && s.calls == 0 {
			close(s.drained)
		}
		s.mu.Unlock()
	}, nil
}
