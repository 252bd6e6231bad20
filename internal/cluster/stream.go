package cluster

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/channel"
)

const (
	// defaultWriteTimeout is how long an agent may take to read what is written at
	// once, which is at most writeBytes. One that takes longer is cut, and comes
	// back.
	defaultWriteTimeout = 10 * time.Second
	writeBytes          = 64 << 10
)

// Why a stream ended, as metrics name it.
const (
	endedByAgent   = "agent"   // it went away, or reads too slowly
	endedByToken   = "token"   // its token ended, or counts no more
	endedByCluster = "cluster" // the cluster ended, or the agent lags too far behind
	endedByCloud   = "stop"    // the cloud stops
)

// changes serves one stream.
func (c *Channel) changes(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	raw, a, err := c.admit(r, "changes/read")
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	history, revision, err := resumption(r)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	t := c.topics.join(a.cluster)
	if t == nil {
		c.refuse(w, r, azure.Errorf(http.StatusTooManyRequests, "TooManyStreams", "The cluster has %d streams here, which is the most it can have.", maxStreams))
		return
	}
	defer c.topics.leave(t)
	lines, at, wake, ok := c.topics.begin(t, history, revision)
	if !ok {
		c.refuse(w, r, errGone())
		return
	}
	c.metrics.streams.Inc()
	defer c.metrics.streams.Dec()
	s := &stream{
		channel: c, agent: a, raw: raw, topic: t, at: at, wake: wake,
		out: output{w: w, control: http.NewResponseController(w), timeout: c.writeTimeout},
	}
	why := s.run(ctx, lines)
	s.out.end()
	c.metrics.ended.WithLabelValues(why).Inc()
	c.log.InfoContext(ctx, "a stream of an agent ended", "cluster", a.cluster.ID, "agent", a.subject, "pod", a.pod, "reason", why)
}

// resumption reads from where an agent wants to go on.
func resumption(r *http.Request) (history string, revision int64, err *azure.Error) {
	q := r.URL.Query()
	history = q.Get(channel.HistoryParameter)
	text := q.Get(channel.RevisionParameter)
	if history == "" && text == "" {
		return "", 0, nil
	}
	revision, parsed := strconv.ParseInt(text, 10, 64)
	if parsed != nil || revision < 0 || history == "" || len(history) > 64 {
		return "", 0, azure.Errorf(http.StatusBadRequest, "InvalidResumption",
			"The parameters %s and %s are those of a former stream, or both absent.", channel.HistoryParameter, channel.RevisionParameter)
	}
	return history, revision, nil
}

// stream is one stream that is being written.
type stream struct {
	channel *Channel
	agent   agent
	raw     string // the agent's token, which is looked at again and again
	topic   *topic
	at      cursor
	wake    <-chan struct{}
	out     output
}

// run writes until the stream ends, and says why it did.
func (s *stream) run(ctx context.Context, lines [][]byte) string {
	c := s.channel
	h := s.out.w.Header()
	h.Set("Content-Type", channel.ContentType)
	h.Set("Cache-Control", "no-store")
	if err := s.out.write(lines...); err != nil {
		return endedByAgent
	}
	c.heard(ctx, s.agent)
	heartbeat := time.NewTicker(c.heartbeat)
	defer heartbeat.Stop()
	for {
		select {
		case <-ctx.Done():
			return endedByAgent
		case <-c.topics.ending:
			return endedByCloud
		case <-s.wake:
			if why := s.tell(ctx); why != "" {
				return why
			}
		case <-heartbeat.C:
			if !s.counts(ctx) {
				return endedByToken
			}
			if err := s.out.write(encode(channel.Change{Revision: s.topic.revisionNow(), Kind: channel.KindHeartbeat})); err != nil {
				return endedByAgent
			}
			c.heard(ctx, s.agent)
		}
	}
}

// counts proves the agent anew: its token may have ended, or its key, its service
// account or its cluster may count no more. It is asked before all that an agent
// is told, and with every heartbeat.
func (s *stream) counts(ctx context.Context) bool {
	_, err := s.channel.authenticator.agent(ctx, s.agent.cluster.ID, s.raw)
	return err == nil
}

// tell writes what has changed.
func (s *stream) tell(ctx context.Context) string {
	lines, at, wake, ok := s.channel.topics.next(s.topic, s.at)
	if !ok {
		return endedByCluster
	}
	if !s.counts(ctx) {
		return endedByToken
	}
	s.at, s.wake = at, wake
	if len(lines) == 0 {
		return ""
	}
	if err := s.out.write(lines...); err != nil {
		return endedByAgent
	}
	return ""
}

// output writes to an agent, within a time.
type output struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
}

// write writes and flushes, a part at a time. Between two writes there is no
// deadline, neither an old one nor the server's own for a request.
func (o output) write(pieces ...[]byte) error {
	for _, lines := range pieces {
		for part := range slices.Chunk(lines, writeBytes) {
			if err := o.control.SetWriteDeadline(time.Now().Add(o.timeout)); err != nil {
				return err
			}
			_, err := o.w.Write(part)
			if err := errors.Join(err, o.control.Flush()); err != nil {
				return err
			}
		}
	}
	return o.control.SetWriteDeadline(time.Time{})
}

// end bounds what the server itself still writes when the stream is over.
func (o output) end() { _ = o.control.SetWriteDeadline(time.Now().Add(o.timeout)) }
