package directory

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/store"
)

// DefaultFederatedCredentials is how many federated identity credentials an
// application or a user-assigned identity may have on Azure.
const DefaultFederatedCredentials = 20

// Directory is the directory of all tenants of one cloud. Its methods are safe
// for concurrent use. What lookups return refers to the view and must not be
// changed.
type Directory struct {
	domain         string
	services       []azure.Service
	now            func() time.Time
	maxCredentials int
	strict         bool
	log            *slog.Logger

	mu       sync.RWMutex // guards view and everything below it
	view     *view
	onTrusts []func(issuers []string, revision int64)
}

// An Option changes what [Open] does by default.
type Option func(*Directory) error

// WithFederatedCredentialLimit lets every application and user-assigned
// identity have n federated identity credentials. Less than Azure's
// [DefaultFederatedCredentials] is an error: clients count on those.
func WithFederatedCredentialLimit(n int) Option {
	return func(d *Directory) error {
		if n < DefaultFederatedCredentials {
			return fmt.Errorf("the limit of federated identity credentials is %d, but Azure allows %d",
				n, DefaultFederatedCredentials)
		}
		d.maxCredentials = n
		return nil
	}
}

// WithStrict refuses what Azure refuses and Lanyard otherwise allows: flexible
// federated credentials of managed identities, and such credentials for other
// issuers and claims than those on Azure's list (see [Expression.AllowedOnAzure]).
// Credentials that were written before stay as they are.
func WithStrict() Option {
	return func(d *Directory) error {
		d.strict = true
		return nil
	}
}

// WithLogger sets where records that cannot be read are reported. By default
// they are not.
func WithLogger(log *slog.Logger) Option {
	return func(d *Directory) error {
		d.log = log
		return nil
	}
}

// Open follows the store until that is closed, and returns when the view is
// complete; ctx bounds the opening only. The cloud tells which services have tokens in every tenant; now dates what is
// created (nil: time.Now).
func Open(ctx context.Context, st *store.Store, cloud azure.Cloud, now func() time.Time, opts ...Option) (*Directory, error) {
	if now == nil {
		now = time.Now
	}
	d := &Directory{
		domain:         cloud.Domain,
		services:       cloud.Services(),
		now:            now,
		maxCredentials: DefaultFederatedCredentials,
		log:            slog.New(slog.DiscardHandler),
		view:           newView(),
	}
	for _, opt := range opts {
		if err := opt(d); err != nil {
			return nil, fmt.Errorf("opening the directory: %w", err)
		}
	}
	if err := st.Follow(ctx, prefix, d.apply); err != nil {
		return nil, fmt.Errorf("reading the directory: %w", err)
	}
	return d, nil
}

// apply brings the view up to date. Records are decoded before the lock is
// taken, so that readers wait for assignments only.
func (d *Directory) apply(changes []store.Change, reset bool) {
	updates := make([]func(*view), 0, len(changes))
	for _, c := range changes {
		update, err := decode(c)
		if err != nil {
			// The record counts as absent: an identity that cannot be read gets
			// no tokens, and the others go on.
			d.log.Error("directory record cannot be read", "key", c.Key, "revision", c.Revision, "error", err)
			update, _ = decode(store.Change{Key: c.Key})
		}
		if update != nil {
			updates = append(updates, update)
		}
	}
	if len(updates) == 0 && !reset {
		return
	}
	issuers, tell := d.change(updates, reset)
	for _, f := range tell {
		if reset || len(issuers) > 0 {
			f(issuers, lastRevision(changes))
		}
	}
}

// change brings the updates into the view, and gives the issuers of the
// credentials that they concern, nil after a reset, and whom to tell.
func (d *Directory) change(updates []func(*view), reset bool) ([]string, []func([]string, int64)) {
	if reset {
		fresh := newView()
		for _, update := range updates {
			update(fresh)
		}
		clear(fresh.touched)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.view = fresh
		return nil, d.onTrusts
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, update := range updates {
		update(d.view)
	}
	issuers := slices.Collect(maps.Keys(d.view.touched))
	clear(d.view.touched)
	return issuers, d.onTrusts
}

// lastRevision gives the greatest revision of the changes.
func lastRevision(changes []store.Change) int64 {
	var last int64
	for _, c := range changes {
		last = max(last, c.Revision)
	}
	return last
}
