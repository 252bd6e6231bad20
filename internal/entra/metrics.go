package entra

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the token service's counters. Every label value comes from a
// fixed set: none is taken from a request as it is.
type metrics struct {
	tokens   *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lanyard_tokens_total",
			Help: "Token requests by grant, kind of client credential, and result: issued, or the AADSTS number of the refusal.",
		}, []string{"grant", "credential", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "lanyard_token_request_duration_seconds",
			Help: "Time to answer a token request, by grant.",
			// An RSA signature takes about a millisecond; a fetch of a foreign
			// issuer's keys can take seconds.
			Buckets: []float64{.0005, .001, .002, .004, .008, .016, .032, .064, .128, .256, .512, 1, 2, 4, 8},
		}, []string{"grant"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.tokens, m.duration} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("entra: registering metrics: %w", err)
		}
	}
	return m, nil
}

// observe counts one answered token request. number is the AADSTS number of a
// refusal, 0 for an issued token.
func (m *metrics) observe(x *exchange, number int, took time.Duration) {
	grant, credential, result := "other", "none", "issued"
	if x.grant != nil {
		grant = x.grant.name
	}
	if x.proof.kind != "" {
		credential = x.proof.kind
	}
	if number != 0 {
		result = strconv.Itoa(number)
	}
	m.tokens.WithLabelValues(grant, credential, result).Inc()
	m.duration.WithLabelValues(grant).Observe(took.Seconds())
}
