package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-id/lanyard/internal/audit"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/token"
)

// ChannelConfig configures [NewChannel]. Clusters, Directory and Issuers are
// required.
type ChannelConfig struct {
	Clusters  *Clusters
	Directory *directory.Directory
	// Issuers verifies the tokens of agents; its Local is [Clusters.Keys].
	Issuers *token.Issuers
	// Heartbeat is the time between heartbeats; 0: [channel.HeartbeatSeconds],
	// which is what agents count on.
	Heartbeat time.Duration
	// WriteTimeout is how long an agent may take to read what is written to it at
	// once, some kilobytes, before its stream is cut; 0: 10 seconds.
	WriteTimeout time.Duration
	// Logger may be nil.
	Logger *slog.Logger
	// Registerer takes the plane's metrics; nil: they are kept and not shown.
	Registerer prometheus.Registerer
}

// Channel is the plane agents.D, to which the agents of attached clusters come.
type Channel struct {
	clusters      *Clusters
	authenticator *authenticator
	topics        *topics
	heartbeat     time.Duration
	writeTimeout  time.Duration
	now           func() time.Time
	log           *slog.Logger
	metrics       *metrics
	paces         *paces
}

// NewChannel makes the plane. It must be made before the first write to the store
// that agents are to hear of.
func NewChannel(cfg ChannelConfig) (*Channel, error) {
	if cfg.Clusters == nil || cfg.Directory == nil || cfg.Issuers == nil {
		return nil, errors.New("cluster: clusters, a directory and issuers are required")
	}
	c := &Channel{
		clusters: cfg.Clusters, topics: newTopics(cfg.Clusters, cfg.Directory), heartbeat: cfg.Heartbeat,
		writeTimeout: cfg.WriteTimeout, now: cfg.Clusters.now,
		authenticator: &authenticator{store: cfg.Clusters.store, clusters: cfg.Clusters, issuers: cfg.Issuers, now: cfg.Clusters.now},
		log:           cfg.Logger, metrics: newMetrics(cfg.Clusters), paces: newPaces(),
	}
	if c.heartbeat <= 0 {
		c.heartbeat = channel.HeartbeatSeconds * time.Second
	}
	if c.writeTimeout <= 0 {
		c.writeTimeout = defaultWriteTimeout
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(c.metrics); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Close ends all streams, and those that still begin, so that a server can stop
// without waiting for them. Agents dial again.
func (c *Channel) Close() { c.topics.close() }

// ServeHTTP answers an agent.
func (c *Channel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, what, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/v1/clusters/"), "/")
	var method string
	var serve func(http.ResponseWriter, *http.Request)
	switch r.URL.EscapedPath() {
	case channel.ChangesPath(id):
		method, serve = http.MethodGet, c.changes
	case channel.ReportsPath(id):
		method, serve = http.MethodPost, c.reports
	default:
		c.refuse(w, r, azure.Errorf(http.StatusNotFound, "NotFound",
			"Agents of attached clusters have %s and %s here.", channel.ChangesPath("{cluster}"), channel.ReportsPath("{cluster}")))
		return
	}
	if r.Method != method {
		w.Header().Set("Allow", method)
		c.refuse(w, r, azure.Errorf(http.StatusMethodNotAllowed, "MethodNotAllowed", "The %s of a cluster take %s alone.", what, method))
		return
	}
	r.SetPathValue("cluster", id)
	serve(w, r)
}

// admit proves the agent of a request and records that, or that it could not. A
// request without a token, or for no cluster that there is, is nobody's and asks for
// nothing that exists: it is counted, and fills no audit log.
func (c *Channel) admit(r *http.Request, action string) (raw string, a agent, refused *azure.Error) {
	raw, refused = bearer(r)
	if refused == nil {
		a, refused = c.authenticator.agent(r.Context(), r.PathValue("cluster"), raw)
	}
	if a.cluster == nil {
		return raw, a, refused
	}
	record := audit.Record{
		Kind: audit.KindAuthorization, Result: audit.ResultAllowed, Action: "Microsoft.Kubernetes/connectedClusters/" + action,
		TenantID: a.cluster.TenantID, Scope: a.cluster.ResourceID, Detail: map[string]string{"plane": "agents"},
	}
	switch {
	case refused == nil:
		record.Detail["agent"], record.Detail["pod"] = a.subject, a.pod
	case refused.Status >= http.StatusInternalServerError:
		record.Result, record.Reason = audit.ResultError, refused.Error()
	default:
		record.Result, record.Reason = audit.ResultDenied, refused.Error()
	}
	if err := c.clusters.audit.Write(r.Context(), record); err != nil && refused == nil {
		refused = errUnavailable(err)
	}
	return raw, a, refused
}

// reports takes a report.
func (c *Channel) reports(w http.ResponseWriter, r *http.Request) {
	_, a, refused := c.admit(r, "reports/write")
	if refused != nil {
		c.refuse(w, r, refused)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReportBytes))
	if err != nil {
		e := azure.Errorf(http.StatusBadRequest, "InvalidReport", "The report could not be read.")
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			e = azure.Errorf(http.StatusRequestEntityTooLarge, "ReportTooLarge", "A report has at most %d bytes.", maxReportBytes)
		}
		e.Err = err
		c.refuse(w, r, e)
		return
	}
	var report channel.Report
	if err := json.Unmarshal(body, &report); err != nil {
		c.refuse(w, r, azure.Errorf(http.StatusBadRequest, "InvalidReport", "The report is not JSON of the form that agents send: %s.", err))
		return
	}
	if err := checkReport(report); err != nil {
		c.refuse(w, r, err)
		return
	}
	if !c.paces.admit(a, report.Component, time.Now()) {
		c.refuse(w, r, azure.Errorf(http.StatusTooManyRequests, "TooManyReports",
			"A component in a pod reports once in %d seconds, and a cluster %d times a second.", channel.ReportPauseSeconds, clusterPerSecond))
		return
	}
	if err := c.clusters.takeReport(r.Context(), a, report); err != nil {
		c.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write([]byte("{}\n")) // an agent that is gone is nobody's error
}

// heard notes that an agent is there.
func (c *Channel) heard(ctx context.Context, a agent) {
	bounded, cancel := context.WithTimeout(ctx, c.heartbeat) // a slow store must not delay the next one
	defer cancel()
	if err := c.clusters.touch(bounded, a.cluster.ID); err != nil && ctx.Err() == nil {
		c.log.WarnContext(ctx, "when a cluster was last heard of could not be kept", "cluster", a.cluster.ID, "error", err)
	}
}

// refuse answers with an error. What is no client's error is logged.
func (c *Channel) refuse(w http.ResponseWriter, r *http.Request, err error) {
	code := "InternalServerError"
	if e, ok := errors.AsType[*azure.Error](err); ok {
		code = e.Code
		if e.Err != nil {
			c.log.WarnContext(r.Context(), "an agent's request was refused", "code", e.Code, "error", e.Err)
		}
	} else {
		c.log.ErrorContext(r.Context(), "an agent's request failed", "error", err)
	}
	c.metrics.refused.WithLabelValues(code).Inc()
	writeError(w, err)
}
