package controller

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// benchServer makes the test binary a server of a benchmark, so that its
// processor time and memory can be told from the client's.
const benchServer = "LANYARD_BENCH_SERVER"

// serveBench serves until SIGTERM: the webhook, before the API server that
// benchAPI names, or a bare TLS echo.
func serveBench(kind string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if kind == "echo" {
		cert, key, err := newPair()
		if err != nil {
			panic(err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			panic(err)
		}
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}})
		if err != nil {
			panic(err)
		}
		fmt.Println(l.Addr(), "-", base64.StdEncoding.EncodeToString(cert))
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Write(body)
		})}
		context.AfterFunc(ctx, func() { s.Close() })
		s.Serve(l)
		return
	}
	w, err := NewWebhook(WebhookConfig{
		Kubernetes: &rest.Config{Host: kind}, Namespace: "azwi", Log: slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Settings: workloadidentity.Settings{TenantID: tenantID, AuthorityHost: "https://login.microsoftonline.com/"},
		Addr:     "127.0.0.1:0", HealthAddr: "127.0.0.1:0", MetricsAddr: "127.0.0.1:0",
		Started: Tune(os.Getenv),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(w.Addr("webhook"), w.Addr("health"))
	if err := w.Run(ctx); err != nil {
		panic(err)
	}
}

type benchProcess struct {
	*running
	pid   int
	ready time.Duration // from the process's start
}

func startBench(b *testing.B, kind string, api *fakeAPI) *benchProcess {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchServer+"="+kind)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(line)
	p := &benchProcess{running: &running{client: &http.Client{}, url: "https://" + fields[0] + MutatePath}, pid: cmd.Process.Pid}
	b.Cleanup(p.client.CloseIdleConnections)
	if kind == "echo" {
		bundle, err := base64.StdEncoding.DecodeString(fields[2])
		if err != nil {
			b.Fatal(err)
		}
		p.trust(b, bundle)
		return p
	}
	eventually(b, func() error {
		resp, err := http.Get("http://" + fields[1] + "/readyz")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("not ready")
		}
		return nil
	})
	p.ready = time.Since(begin)
	http.DefaultClient.CloseIdleConnections()
	p.trust(b, bundleOf(b, api, 0))
	return p
}

// cpu is the processor time that the process has used.
func (p *benchProcess) cpu(b *testing.B) time.Duration {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		b.Skip("processor time of another process is read from /proc: ", err)
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	var ticks int
	for _, f := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// rssAnon is the process's own memory in MiB.
func (p *benchProcess) rssAnon(b *testing.B) float64 {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		b.Skip("memory of another process is read from /proc: ", err)
	}
	for line := range strings.SplitSeq(string(raw), "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "RssAnon:" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				b.Fatal(err)
			}
			return float64(n) / 1024
		}
	}
	b.Fatal("no RssAnon")
	return 0
}

// drive posts a review again and again, over one connection, and reports the
// server's processor time.
func (p *benchProcess) drive(b *testing.B, body string) {
	b.Helper()
	post := func() {
		resp, err := p.client.Post(p.url, "application/json", strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n < 100 || resp.StatusCode != http.StatusOK {
			b.Fatalf("%d bytes, %v, %s", n, err, resp.Status)
		}
		resp.Body.Close()
	}
	for range 200 {
		post()
	}
	before := p.cpu(b)
	for b.Loop() {
		post()
	}
	b.ReportMetric(float64((p.cpu(b)-before).Microseconds())/float64(b.N), "server-µs/op")
}

// BenchmarkAdmission measures what an admission costs the webhook with 10,000
// service accounts, beside a server that sends back what it gets. Besides the limits
// that it prints there are those of memory, 20 MiB of RssAnon, and of the time until
// the webhook is ready, 100 ms. On a machine that is busy with other things all of
// them are higher, the echo's too.
func BenchmarkAdmission(b *testing.B) {
	api := newFakeAPI(b)
	api.put(configPath, configuration())
	for i := range 10_000 {
		name := fmt.Sprintf("app-%05d", i)
		api.put(accountsPath+name, serviceAccount(name, map[string]any{workloadidentity.ClientIDAnnotation: fmt.Sprintf("5b3fc2f4-9d2c-4a0e-8a0f-0000000%05d", i)}))
	}
	echo, webhook := startBench(b, "echo", nil), startBench(b, api.URL, api)
	for _, size := range []struct{ containers, limit int }{{1, 80}, {10, 200}} {
		body := review("app-00042", size.containers)
		b.Run(fmt.Sprintf("echo/containers=%d", size.containers), func(b *testing.B) { echo.drive(b, body) })
		b.Run(fmt.Sprintf("webhook/containers=%d", size.containers), func(b *testing.B) {
			webhook.drive(b, body)
			b.ReportMetric(float64(size.limit), "limit-server-µs/op")
			b.ReportMetric(webhook.rssAnon(b), "RssAnon-MiB")
			b.ReportMetric(float64(webhook.ready.Milliseconds()), "ready-ms")
			b.ReportMetric(float64(len(body)), "review-bytes")
		})
	}
}
