package workloadidentity

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkReview is an admission without its transport.
func BenchmarkReview(b *testing.B) {
	for _, n := range []int{1, 10} {
		b.Run(fmt.Sprintf("containers=%d", n), func(b *testing.B) {
			container := `{"name":"c","image":"registry.example.com/app:v1","ports":[{"name":"http","containerPort":80,"protocol":"TCP"}],"env":[{"name":"POD","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}}],` +
				`"resources":{"limits":{"cpu":"100m","memory":"128Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},"volumeMounts":[{"name":"v","readOnly":true,"mountPath":"/v"}],` +
				`"livenessProbe":{"httpGet":{"path":"/healthz","port":"http","scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3}}`
			fields := `"k:{\"name\":\"c\"}":{".":{},"f:env":{".":{},"k:{\"name\":\"POD\"}":{".":{},"f:name":{},"f:valueFrom":{".":{},"f:fieldRef":{}}}},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:ports":{".":{}}}`
			body := review(`{"metadata":{"generateName":"web-","labels":{"a":"b"},"managedFields":[{"fieldsV1":{` + fields + `,"f:spec":[` +
				strings.Repeat(`{`+fields+`},`, n-1) + `{}]}}]},"spec":{"containers":[` + strings.Repeat(container+",", n-1) + container + `]}}`)
			settings, sa := testSettings(b, nil), annotated()
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			var answer []byte
			before := processorTime(b)
			for b.Loop() {
				r, err := ParseReview(body)
				if err != nil {
					b.Fatal(err)
				}
				m, err := Decide(r.Request.Object, sa, settings, nil)
				if answer = r.AppendAnswer(answer[:0], m, err); len(answer) < 100 || err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// processorTime is what the process has used: on a machine that others use too, it
// says more than the clock.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
