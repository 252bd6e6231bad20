package exchange

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

const (
	// firstWait is how long a retry waits where the endpoint does not say; it
	// doubles from one to the next.
	firstWait = 250 * time.Millisecond
	// longestWait is how long a Retry-After may be for a retry to wait for it.
	// Beyond, whoever asks is told, and decides.
	longestWait = 5 * time.Second
)

// passing are the statuses of failures that may pass.
var passing = []int{
	http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
	http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

// retry sends until there is an answer that will not change, or the attempts are
// used up; then the last answer or error counts.
func (c *Client) retry(ctx context.Context, send func() (*Answer, error)) (*Answer, error) {
	wait := firstWait
	for attempt := 1; ; attempt++ {
		answer, err := send()
		if attempt >= c.cfg.Attempts || !mayPass(answer, err) {
			return answer, err
		}
		pause := wait/2 + rand.N(wait) //nolint:gosec // a spread, not a secret
		if answer != nil {
			if after := answer.RetryAfter(); after > longestWait {
				return answer, err
			} else if after > 0 {
				pause = after
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return answer, err
		case <-timer.C:
		}
		wait *= 2
	}
}

func mayPass(answer *Answer, err error) bool {
	if err != nil {
		_, own := errors.AsType[*TokenFileError](err)
		return !own && !errors.Is(err, context.Canceled)
	}
	return slices.Contains(passing, answer.Status)
}
