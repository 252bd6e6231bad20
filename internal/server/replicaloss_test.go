package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-id/lanyard/internal/store"
)

// consumer is a client that does its work through a relay, again and again.
type consumer struct {
	http *http.Client
	env  Environment
	name string
	// patient repeats a request whose connection broke, as Azure's SDKs do.
	patient bool
	rounds  atomic.Int64
}

// send sends a request and gives the answer, which must have one of the
// statuses.
func (c *consumer) send(ctx context.Context, method, url, bearer, contentType, body string, statuses ...int) (http.Header, []byte, error) {
	for attempt := 1; ; attempt++ {
		status, header, text, err := c.once(ctx, method, url, bearer, contentType, body)
		switch {
		case err != nil && c.patient && attempt <= 3:
			continue
		case err != nil:
			return nil, nil, fmt.Errorf("%s %s, attempt %d: %w", method, url, attempt, err)
		case !slices.Contains(statuses, status):
			return nil, nil, fmt.Errorf("%s %s: %d %s", method, url, status, text)
		}
		return header, text, nil
	}
}

func (c *consumer) once(ctx context.Context, method, url, bearer, contentType, body string) (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Content-Type", contentType)
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, text, err
}

// token signs in.
func (c *consumer) token(ctx context.Context) (string, error) {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.env.Bootstrap.ClientID}, "client_secret": {c.env.Bootstrap.ClientSecret},
		"scope": {c.env.Endpoints.ResourceManager + "/.default"},
	}
	_, text, err := c.send(ctx, http.MethodPost, c.env.Endpoints.ActiveDirectory+"/"+c.env.TenantID+"/oauth2/v2.0/token", "",
		"application/x-www-form-urlencoded", form.Encode(), http.StatusOK)
	if err != nil {
		return "", err
	}
	var answer struct {
		Token string `json:"access_token"`
	}
	err = json.Unmarshal(text, &answer)
	return answer.Token, err
}

func (c *consumer) groupURL(name string) string {
	return c.env.Endpoints.ResourceManager + "/subscriptions/" + c.env.SubscriptionID + "/resourceGroups/" + name + "?api-version=2021-04-01"
}

// round gets a token, writes with it, and reads what it has written, from
// whichever replica.
func (c *consumer) round(ctx context.Context) error {
	bearer, err := c.token(ctx)
	if err != nil {
		return err
	}
	value := fmt.Sprint("round-", c.rounds.Load())
	body := fmt.Sprintf(`{"location":"westeurope","tags":{"value":%q}}`, value)
	if _, _, err := c.send(ctx, http.MethodPut, c.groupURL(c.name), bearer, "application/json", body, http.StatusOK, http.StatusCreated); err != nil {
		return err
	}
	_, text, err := c.send(ctx, http.MethodGet, c.groupURL(c.name), bearer, "", "", http.StatusOK)
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), value) {
		return fmt.Errorf("%s was written, and read is %s", value, text)
	}
	c.rounds.Add(1)
	return nil
}

// lossWorld is two replicas over an outside etcd cluster, behind a front, and
// consumers that are at work.
type lossWorld struct {
	front     *relay
	stores    []*relay // of each replica, on its way to etcd
	replicas  []*running
	consumers []*consumer
}

// delay is for how long the first one goes on when it is told to stop.
func newLossWorld(t *testing.T, patient bool, delay time.Duration) *lossWorld {
	t.Helper()
	etcd := strings.TrimPrefix(startEtcd(t), "http://")
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(store.NewSealingKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &lossWorld{}
	for _, delay := range []time.Duration{delay, 0} {
		way := newRelay(t, etcd)
		dir := t.TempDir()
		w.stores = append(w.stores, way)
		w.replicas = append(w.replicas, start(t, dir, func(cfg *Config) {
			*cfg = Config{
				DataDir: dir, Logger: cfg.Logger, SealingKeyFile: key, PublicPort: 443, ShutdownDelay: Duration(delay),
				Store: StoreConfig{Endpoints: []string{"http://" + way.Addr().String()}},
			}
		}))
	}
	first := w.replicas[0].Env()
	w.front = newRelay(t, first.DialAddress(), w.replicas[1].Env().DialAddress())
	for i, b := range w.front.backends {
		stop := b.watch(w.replicas[i].client(t), first.Domain)
		t.Cleanup(stop)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var working sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		working.Wait()
	})
	for i := range 4 {
		c := w.consumer(t, fmt.Sprint("rg-", i), patient)
		w.consumers = append(w.consumers, c)
		working.Go(func() {
			for ctx.Err() == nil {
				if err := c.round(ctx); err != nil && ctx.Err() == nil {
					t.Errorf("consumer %s, round %d: %v", c.name, c.rounds.Load(), err)
					return
				}
			}
		})
	}
	return w
}

// consumer gives a client that trusts the cloud and reaches it by the front, and
// has connections of its own.
func (w *lossWorld) consumer(t *testing.T, name string, patient bool) *consumer {
	t.Helper()
	roots := w.replicas[0].client(t).Transport.(*http.Transport).TLSClientConfig.RootCAs
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, w.front.Addr().String())
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &consumer{http: &http.Client{Transport: transport}, env: w.replicas[0].Env(), name: name, patient: patient}
}

// goOn waits until each consumer has done that many rounds more.
func (w *lossWorld) goOn(t *testing.T, rounds int64) {
	t.Helper()
	for _, c := range w.consumers {
		want := c.rounds.Load() + rounds
		waitFor(t, func() bool { return c.rounds.Load() >= want || t.Failed() })
	}
	if t.Failed() {
		t.FailNow()
	}
}

// A replica that is stopped, as an upgrade does, tells load balancers first and
// finishes what it has: no request fails, and nobody has to send one again.
func TestReplicaStops(t *testing.T) {
	w := newLossWorld(t, false, 5*time.Second) // in which the front sees it, on a busy machine too
	w.goOn(t, 5)
	for i, b := range w.front.backends {
		if b.connections() == 0 {
			t.Fatalf("replica %d has had no connection", i)
		}
	}
	survivor := w.front.backends[1].connections()
	if err := w.replicas[0].stop(); err != nil {
		t.Fatal(err)
	}
	w.goOn(t, 5)
	if w.front.backends[1].connections() == survivor {
		t.Error("nobody has moved to the other replica")
	}
}

// A replica that is lost without a word, its connections broken in the midst of
// requests and its way to the store cut, takes nothing with it: clients that
// repeat a request whose connection broke, as Azure's SDKs do, see no failure;
// what was written before is there, what the lost one was working on is finished
// by the other, and it comes back when it can.
func TestReplicaIsLost(t *testing.T) {
	w := newLossWorld(t, true, 0)
	w.goOn(t, 5)
	lost, kept := w.front.backends[0], w.front.backends[1]
	if lost.connections() == 0 || kept.connections() == 0 {
		t.Fatal("a replica has had no connection")
	}
	operator := w.consumer(t, "operator", true)
	bearer, err := operator.token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	resourceManager := func(method, url, body string, statuses ...int) (http.Header, []byte) {
		t.Helper()
		header, text, err := operator.send(t.Context(), method, url, bearer, "application/json", body, statuses...)
		if err != nil {
			t.Fatal(err)
		}
		return header, text
	}
	resourceManager(http.MethodPut, operator.groupURL("before"), `{"location":"westeurope"}`, http.StatusCreated)
	resourceManager(http.MethodPut, operator.groupURL("ending"), `{"location":"westeurope"}`, http.StatusCreated)

	// The first replica started first, and leads what is done in the background.
	lost.cut(true)
	w.stores[0].backends[0].cut(true)
	header, _ := resourceManager(http.MethodDelete, operator.groupURL("ending"), "", http.StatusAccepted)
	w.goOn(t, 5)
	resourceManager(http.MethodGet, operator.groupURL("before"), "", http.StatusOK)
	waitFor(t, func() bool {
		_, _, err := operator.send(t.Context(), http.MethodGet, header.Get("Location"), bearer, "", "", http.StatusOK)
		return err == nil
	})
	resourceManager(http.MethodGet, operator.groupURL("ending"), "", http.StatusNotFound)

	// Its views are stale by then, and it says so: until it has the store again, the
	// front leads nobody to it.
	waitFor(t, lost.away.Load)
	w.stores[0].backends[0].cut(false)
	lost.cut(false)
	had := lost.connections()
	waitFor(t, func() bool {
		again := w.consumer(t, "newcomer", true)
		if err := again.round(t.Context()); err != nil {
			t.Error(err)
		}
		again.http.CloseIdleConnections()
		return lost.connections() > had
	})
	w.goOn(t, 5)
}
