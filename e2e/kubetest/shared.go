package kubetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
)

// Shared is a cluster that the tests of a package share: it starts with the first
// test that asks for it, and lasts until TestMain ends it.
//
//	var cluster = kubetest.Shared{}
//
//	func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }
//
//	func TestPods(t *testing.T) {
//		n := cluster.Get(t).Namespace(t, nil)
//		...
type Shared struct {
	// Options are the cluster's.
	Options Options
	// Ready prepares the cluster for the package's tests, where it is not nil.
	Ready func(context.Context, *Cluster) error
	// Done ends what Ready began, before the cluster ends, where it is not nil. It
	// is called if Ready was, even if that failed.
	Done func() error

	mu      sync.Mutex
	cluster *Cluster
	err     error
}

// Main runs the tests and then ends the cluster; it gives the exit code.
func (s *Shared) Main(m *testing.M) int {
	code := m.Run()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster == nil {
		return code
	}
	var err error
	if s.Done != nil {
		err = s.Done()
	}
	if err := errors.Join(err, s.cluster.Close()); err != nil {
		fmt.Fprintln(os.Stderr, "kubetest: ending the cluster:", err)
		return max(code, 1)
	}
	return code
}

// Get is the cluster. Where the machine cannot run one the test is skipped, and
// in CI fails.
func (s *Shared) Get(t testing.TB) *Cluster {
	t.Helper()
	Require(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster == nil && s.err == nil {
		// Not the test's context: the cluster outlives the test.
		s.cluster, s.err = New(context.Background(), s.Options)
		if s.err == nil && s.Ready != nil {
			s.err = s.Ready(context.Background(), s.cluster)
		}
	}
	if s.cluster != nil {
		s.cluster.keepLogs(t)
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.cluster
}
