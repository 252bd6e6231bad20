package sidecar

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// probeFor is how long a probe waits for the proxy to be ready.
	probeFor = 8 * time.Second
	// probeEvery is how often it asks.
	probeEvery = 50 * time.Millisecond
)

// Probe waits until the proxy on a port is ready. The proxy may be starting still:
// that nobody listens yet is no answer. The error says what the last one was.
func Probe(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true} // no proxy: it is this machine
	client := &http.Client{Transport: transport, Timeout: 2 * time.Second}
	address := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) + "/readyz"
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	var last error
	for {
		err := probeOnce(ctx, client, address)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // the end of the wait is no news
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the proxy is not ready: %w", last)
		case <-tick.C:
		}
	}
}

func probeOnce(ctx context.Context, client *http.Client, address string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(body)))
}
