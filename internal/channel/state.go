package channel

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// State is what an agent knows of its cluster and of the federated credentials
// that trust it. It is read without locks, from any number of goroutines; what it
// hands out is shared and must not be changed.
//
// While the cloud cannot be reached, State keeps what was last known: a pod that
// starts then is not worse off than one that started before. When the cloud
// refuses the agent, State is void: the cluster is not, or no more, attached.
type State struct {
	current atomic.Pointer[view]
	streams atomic.Uint64 // that have brought the state
	live    atomic.Bool   // one of them goes on
}

// view is one state of the cluster, never changed once it is published.
type view struct {
	synced   bool
	cluster  Cluster
	byID     map[string]Credential
	byClient map[string][]Credential // by folded client ID
	tenants  map[string]struct{}     // folded
	changed  chan struct{}           // closed when another view is published
}

func newState() *State {
	s := &State{}
	s.current.Store(&view{changed: make(chan struct{})})
	return s
}

// Synced reports whether the whole state has been received, so that what is not
// in it does not exist. Until then, and when the cloud refuses the agent, nothing
// can be concluded from what State does not know.
func (s *State) Synced() bool { return s.current.Load().synced }

// Stream gives the number of the stream that has brought the state last, counted
// from 1, and whether it goes on. While it does not, what the cloud has changed
// since is not in State.
func (s *State) Stream() (number uint64, live bool) { return s.streams.Load(), s.live.Load() }

// Cluster gives the cluster's own record, false until the state is synced.
func (s *State) Cluster() (Cluster, bool) {
	v := s.current.Load()
	return v.cluster, v.synced
}

// Credentials gives the federated credentials of a client (in any case) that
// match a subject (to the letter), or may match it: those with an expression,
// which Flexible tells, are always among them.
func (s *State) Credentials(clientID, subject string) []Credential {
	var found []Credential
	for _, c := range s.ClientCredentials(clientID) {
		if c.Flexible || c.Subject == subject {
			found = append(found, c)
		}
	}
	return found
}

// ClientCredentials gives all federated credentials of a client that trust this
// cluster, sorted by name.
func (s *State) ClientCredentials(clientID string) []Credential {
	return s.current.Load().byClient[azure.Fold(clientID)]
}

// TenantKnown reports whether a tenant is the cluster's own or that of one of the
// credentials. Whether other tenants exist is not told to agents.
func (s *State) TenantKnown(tenantID string) bool {
	_, ok := s.current.Load().tenants[azure.Fold(tenantID)]
	return ok
}

// Changed gives a channel that is closed at the next change of the state. To miss
// none, take the channel first and read the state afterwards.
func (s *State) Changed() <-chan struct{} { return s.current.Load().changed }

// publish makes v the state.
func (s *State) publish(v *view) {
	v.changed = make(chan struct{})
	close(s.current.Swap(v).changed)
}

// void forgets everything.
func (s *State) void() {
	if s.Synced() {
		s.publish(&view{})
	}
}

// newView indexes what is known.
func newView(cluster Cluster, byID map[string]Credential) *view {
	v := &view{
		synced: true, cluster: cluster, byID: byID,
		byClient: map[string][]Credential{},
		tenants:  map[string]struct{}{azure.Fold(cluster.TenantID): {}},
	}
	for _, c := range byID {
		client := azure.Fold(c.ClientID)
		v.byClient[client] = append(v.byClient[client], c)
		v.tenants[azure.Fold(c.TenantID)] = struct{}{}
	}
	for _, list := range v.byClient {
		slices.SortFunc(list, func(a, b Credential) int {
			return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
		})
	}
	return v
}

// position is where in the cloud's changes an agent is.
type position struct {
	history  string
	revision int64
}

// intake gathers the lines of one stream and publishes them at each
// [KindSynced], so that nobody sees half of a change.
type intake struct {
	state   *State
	at      *position // kept over streams; zero: nothing to resume from
	history string    // of the reset that is being gathered
	pending bool      // cluster and byID hold what is not published yet
	reset   bool      // pending began with a reset
	known   bool      // cluster is set
	live    bool      // the stream has brought the state
	cluster Cluster
	byID    map[string]Credential
	size    int // of byID
}

var (
	errNoReset   = errors.New("the cloud sent changes before the whole state")
	errBackwards = errors.New("the cloud's revision went backwards without a reset")
	errNoCluster = errors.New("the cloud's state has no cluster in it")
	errTooLarge  = errors.New("the cloud's state is larger than an agent keeps")
)

// Limits of the state. Whoever makes federated credentials in any tenant, or has
// taken the cloud over, could otherwise fill the memory of an agent that pods wait
// for. The cloud itself tells less (package cluster).
const (
	maxStateBytes   = 48 << 20
	maxHistoryBytes = 64
	credentialBytes = 256 // of a credential, beside its text
)

// size is about how much memory a credential takes.
func (c Credential) size() int {
	n := credentialBytes + len(c.ID) + len(c.ClientID) + len(c.TenantID) + len(c.Name) + len(c.Subject)
	for _, audience := range c.Audiences {
		n += 16 + len(audience)
	}
	return n
}

// take applies one line. synced is true for one that completed a group. After an
// error the stream must not be read on.
func (in *intake) take(c Change) (synced bool, err error) {
	switch c.Kind {
	case KindReset:
		in.pending, in.reset, in.known = true, true, false
		in.history, in.cluster, in.byID, in.size = c.History, Cluster{}, map[string]Credential{}, 0
		if len(in.history) > maxHistoryBytes {
			return false, errTooLarge
		}
	case KindCluster:
		if c.Cluster != nil {
			if err := in.begin(); err != nil {
				return false, err
			}
			in.cluster, in.known = *c.Cluster, true
		}
	case KindCredential:
		if c.Credential != nil {
			if err := in.begin(); err != nil {
				return false, err
			}
			in.drop(c.Credential.ID)
			if in.size += c.Credential.size(); in.size > maxStateBytes {
				return false, errTooLarge
			}
			in.byID[c.Credential.ID] = *c.Credential
		}
	case KindCredentialGone:
		if c.Credential != nil {
			if err := in.begin(); err != nil {
				return false, err
			}
			in.drop(c.Credential.ID)
		}
	case KindSynced:
		return true, in.sync(c.Revision)
	}
	return false, nil
}

// drop takes a credential out of what is gathered.
func (in *intake) drop(id string) {
	if former, ok := in.byID[id]; ok {
		in.size -= former.size()
		delete(in.byID, id)
	}
}

// begin makes ready for a change: after a reset everything is gathered anew,
// else on top of what is published.
func (in *intake) begin() error {
	if in.pending {
		return nil
	}
	v := in.state.current.Load()
	if !v.synced || in.at.history == "" {
		return errNoReset
	}
	in.pending, in.known, in.cluster, in.byID = true, true, v.cluster, maps.Clone(v.byID)
	in.size = 0
	for _, c := range in.byID {
		in.size += c.size()
	}
	return nil
}

// sync publishes what was gathered.
func (in *intake) sync(revision int64) error {
	if !in.reset && in.at.history == "" {
		return errNoReset
	}
	if !in.reset && revision < in.at.revision {
		return errBackwards
	}
	if in.pending && !in.known {
		return errNoCluster
	}
	if !in.live {
		in.live = true
		in.state.streams.Add(1)
		in.state.live.Store(true)
	}
	if in.pending {
		in.state.publish(newView(in.cluster, in.byID))
	}
	if in.reset {
		in.at.history = in.history
	}
	in.at.revision = revision
	in.pending, in.reset, in.byID = false, false, nil
	return nil
}
