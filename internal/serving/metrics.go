package serving

import (
	"context"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	clientmetrics "k8s.io/client-go/tools/metrics"
)

// NewRegistry makes a registry with what every role of the agent tells: of Go,
// of its process, and of its requests to API servers.
func NewRegistry() *prometheus.Registry {
	countKubernetesRequests()
	registry := prometheus.NewRegistry()
	registry.MustRegister(kubernetesRequests, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// kubernetesRequests counts the process's requests to API servers: client-go
// has one hook for all its clients.
var kubernetesRequests = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "rest_client_requests_total", Help: "Requests to the API server by status, method and host.",
}, []string{"code", "method", "host"})

type requestResult struct{}

// Increment is client-go's hook.
func (requestResult) Increment(_ context.Context, code, method, host string) {
	if n, err := strconv.Atoi(code); err != nil || n == 0 {
		code = "<error>"
	}
	kubernetesRequests.WithLabelValues(code, method, host).Inc()
}

// countKubernetesRequests installs the hook, once in a process.
var countKubernetesRequests = sync.OnceFunc(func() {
	clientmetrics.Register(clientmetrics.RegisterOpts{RequestResult: requestResult{}})
})
