package lanyardtest

import (
	"log/slog"
	"time"
)

// Option changes the cloud that [New] makes.
type Option func(*options)

type options struct {
	strict   bool
	rehearse []string
	now      func() time.Time
	logger   *slog.Logger
}

// WithStrictAzure makes the cloud refuse what Azure does not have and answer with
// Azure's own, less helpful errors and limits. The default is helpful: errors end
// with a sentence that names the mistake. Token exchange, by which
// [Identity.Credential] works, is one of the things that Azure does not have: in
// a strict cloud use [Identity.WorkloadCredential]. Azure's delays it does not
// have by itself: see [WithRehearsal].
func WithStrictAzure() Option { return func(o *options) { o.strict = true } }

// WithRehearsal makes the cloud take Azure's time, or refuse what is too much for
// Azure, so that a test meets it: names as in the section "rehearsal" of the
// cloud's configuration, such as "credentialPropagation" (a new federated
// credential is refused with AADSTS70021 for two minutes), "roleAssignmentLag"
// (role assignments count after ten minutes, the helpers' own too) and
// "armThrottle", each of those that take time with a time of the test's own if
// need be: "roleAssignmentLag=30s"; or "all". Nobody waits: [Cloud.Advance].
func WithRehearsal(names ...string) Option {
	return func(o *options) { o.rehearse = append(o.rehearse, names...) }
}

// WithNow gives the cloud another clock than [time.Now]: for tests that need a
// certain date, or time that stands still. It is called from many goroutines at
// once. To let time pass use [Cloud.Advance], which needs no clock of the test's.
func WithNow(now func() time.Time) Option { return func(o *options) { o.now = now } }

// WithLogger sends the cloud's log, which has a line for every request, to logger
// as it is written. The default keeps the log's end in memory and writes it to
// the test's log if the test fails. For a log in any case:
//
//	lanyardtest.WithLogger(slog.New(slog.NewTextHandler(t.Output(), nil)))
func WithLogger(logger *slog.Logger) Option { return func(o *options) { o.logger = logger } }
