package provider

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
)

// maxClockAhead is how far a clock can be put forward: as long as the
// certificates of signing keys last.
const maxClockAhead = 10 * 365 * 24 * time.Hour

// Clock is a cloud's clock that can be put forward, for clouds that tests run.
// It goes on ticking, ahead of the real time; it never goes back but by
// [Clock.Reset]. How far it is ahead is kept in memory alone: a new process
// begins at the real time. It is safe for concurrent use.
type Clock struct {
	real  func() time.Time
	ahead atomic.Int64 // nanoseconds
}

// NewClock makes a clock that shows the real time; real is what tells it, nil:
// time.Now.
func NewClock(realTime func() time.Time) *Clock {
	if realTime == nil {
		realTime = time.Now
	}
	return &Clock{real: realTime}
}

// Now is the time that the clock shows.
func (c *Clock) Now() time.Time { return c.real().Add(c.Ahead()) }

// Ahead is how far the clock is ahead of the real time.
func (c *Clock) Ahead() time.Duration { return time.Duration(c.ahead.Load()) }

// Advance puts the clock forward. Less than nothing, and more than ten years
// ahead of the real time in all, is an error: 400 InvalidClockTime.
func (c *Clock) Advance(by time.Duration) error {
	for {
		was := c.ahead.Load()
		switch {
		case by < 0:
			return errClock("The clock is never put back: it was asked to advance by %s. A reset leads it back to the real time.", by)
		case by > maxClockAhead-time.Duration(was):
			return errClock("The clock would be more than ten years ahead of the real time.")
		case c.ahead.CompareAndSwap(was, was+int64(by)):
			return nil
		}
	}
}

// Set puts the clock forward to a time, with the errors of Advance.
func (c *Clock) Set(to time.Time) error {
	now := c.Now()
	if to.Before(now) {
		return errClock("The clock is never put back: it shows %s, which is after %s. A reset leads it back to the real time.",
			now.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
	}
	return c.Advance(to.Sub(now))
}

// Reset leads the clock back to the real time. What was made while it was ahead
// keeps its dates.
func (c *Clock) Reset() { c.ahead.Store(0) }

func errClock(format string, args ...any) error {
	return azure.Errorf(http.StatusBadRequest, "InvalidClockTime", format, args...)
}

// clock is Lanyard.Directory/clock, an extension: the one clock "default" of a
// cloud that was started with one. Who may manage access at the root of the
// operator's tenant may move it, since with it move the beginnings and ends of
// all credentials.
func clock(c *Clock) arm.Type {
	act := func(do func(body json.RawMessage) error) arm.VirtualAction {
		return arm.VirtualAction{Run: func(_ context.Context, r *arm.Request, body json.RawMessage) (int, any, error) {
			if err := checkClockName(r); err != nil {
				return 0, nil, err
			}
			if err := do(body); err != nil {
				return 0, nil, err
			}
			return http.StatusOK, showClock(c, r), nil
		}}
	}
	return arm.Virtual(arm.Spec{
		Name: "Lanyard.Directory/clock", Versions: cloudVersions, In: arm.AtTenant, CloudWide: true,
		Action: "Microsoft.Authorization/clock",
	}, arm.VirtualHooks{
		Action: func(_ *arm.Request, operation string) string {
			if operation == "read" {
				return ""
			}
			return "Microsoft.Authorization/clock/write" // which no Contributor has
		},
		Get: func(_ context.Context, r *arm.Request) (any, error) {
			if err := checkClockName(r); err != nil {
				return nil, err
			}
			return showClock(c, r), nil
		},
		Actions: map[string]arm.VirtualAction{
			"advance": act(func(body json.RawMessage) error {
				var b struct{ By *string }
				if err := json.Unmarshal(body, &b); err != nil || b.By == nil {
					return errClock(`The body must be {"by": DURATION}, such as "90s" or "2h30m".`)
				}
				by, err := time.ParseDuration(*b.By)
				if err != nil {
					return errClock("'%s' is no duration such as '90s' or '2h30m'.", *b.By)
				}
				return c.Advance(by)
			}),
			"set": act(func(body json.RawMessage) error {
				var b struct{ Time *time.Time }
				if err := json.Unmarshal(body, &b); err != nil || b.Time == nil {
					return errClock(`The body must be {"time": TIME}, such as "2030-01-02T15:04:05Z".`)
				}
				return c.Set(*b.Time)
			}),
			"reset": act(func(json.RawMessage) error { c.Reset(); return nil }),
		},
	})
}

func checkClockName(r *arm.Request) error {
	if azure.EqualFold(r.Name, "default") {
		return nil
	}
	return azure.Errorf(http.StatusNotFound, "ResourceNotFound", "There is no clock '%s'; the cloud's is 'default'.", r.Name)
}

// clockView is the clock on the wire.
type clockView struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Type       string `json:"type"`
	Properties struct {
		Now      time.Time `json:"now"`
		RealTime time.Time `json:"realTime"`
		Ahead    string    `json:"ahead"`
	} `json:"properties"`
}

func showClock(c *Clock, r *arm.Request) clockView {
	v := clockView{ID: "/providers/Lanyard.Directory/clock/default", Name: "default", Type: r.Type}
	now, ahead := c.real().UTC(), c.Ahead()
	v.Properties.Now, v.Properties.RealTime, v.Properties.Ahead = now.Add(ahead), now, ahead.String()
	return v
}
