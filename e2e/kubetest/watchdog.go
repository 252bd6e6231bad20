package kubetest

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/lanyard-id/lanyard/e2e/kubetest/internal/machine"
)

// watchdog knows which components should be running, so that nobody waits for
// what a dead one would have to do.
type watchdog struct {
	mu      sync.Mutex
	leaving map[*machine.Process]bool
	closed  bool
	dead    error
}

func (w *watchdog) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
}

// died is the first end that nobody expected.
func (w *watchdog) died() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

func (w *watchdog) guard(p *machine.Process) {
	<-p.Done()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed && !w.leaving[p] && w.dead == nil {
		w.dead = fmt.Errorf("%s ended by itself", p.Name)
	}
}

// expectEnd says that the component is about to be stopped.
func (c *Cluster) expectEnd(p *machine.Process) {
	c.watch.mu.Lock()
	defer c.watch.mu.Unlock()
	if c.watch.leaving == nil {
		c.watch.leaving = map[*machine.Process]bool{}
	}
	c.watch.leaving[p] = true
}

// run starts a component, of which the log is MACHINE.COMPONENT.log.
func (c *Cluster) run(m *machine.Machine, component string, args ...string) (*machine.Process, error) {
	log := filepath.Join(c.logs, m.Name()+"."+component+".log")
	p, err := m.Start(component+" on "+m.Name(), log, filepath.Join(c.bin, component), args...)
	if err != nil {
		return nil, err
	}
	go c.watch.guard(p)
	return p, nil
}

// pollTimeout is how long anything may take that is waited for.
const pollTimeout = 2 * time.Minute

// poll asks until the answer is yes, and fails when the context ends, or a
// component does, or after pollTimeout; what was seen last is in the error.
func (c *Cluster) poll(ctx context.Context, what string, ask func(context.Context) (yes bool, seen string)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, pollTimeout, fmt.Errorf("not after %s", pollTimeout))
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		yes, seen := ask(ctx)
		if yes {
			return nil
		}
		if err := c.watch.died(); err != nil {
			return fmt.Errorf("waiting for %s: %w; last seen: %s", what, err, seen)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; last seen: %s", what, context.Cause(ctx), seen)
		case <-ticker.C:
		}
	}
}
