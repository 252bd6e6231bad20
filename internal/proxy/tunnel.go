package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	socks "golang.org/x/net/proxy"
)

// connect opens a tunnel to the cloud, to the target itself, or to the target
// through the upstream proxy.
func (p *Proxy) connect(w http.ResponseWriter, r *http.Request) {
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil || host == "" || port == "" {
		p.refuse(w, r, http.StatusBadRequest, fmt.Sprintf("CONNECT %q: want host:port", r.Host))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), dialTimeout)
	defer cancel()
	remote, err := p.dial(ctx, host, r.Host)
	if err != nil {
		p.refuse(w, r, http.StatusBadGateway, err.Error())
		return
	}
	defer remote.Close()

	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		p.refuse(w, r, http.StatusInternalServerError, "cannot take over the connection")
		return
	}
	defer client.Close()
	// The HTTP server's deadlines end here: a tunnel may be quiet for long.
	if err := client.SetDeadline(time.Time{}); err != nil {
		return
	}
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection Established\r\n\r\n"); err != nil {
		return
	}
	p.log.Debug("proxy: tunnel opened", "host", r.Host)
	early, err := buffered.Peek(buffered.Reader.Buffered())
	if err != nil {
		return
	}
	if _, err := remote.Write(early); err != nil {
		return
	}
	p.splice(client, remote)
}

// dial reaches hostport; host is its name part.
func (p *Proxy) dial(ctx context.Context, host, hostport string) (net.Conn, error) {
	var d net.Dialer
	if p.own(host) {
		conn, err := d.DialContext(ctx, "tcp", p.target)
		if err != nil {
			return nil, fmt.Errorf("the cloud does not answer at %s: %w", p.target, err)
		}
		return conn, nil
	}
	via, err := p.upstream(&url.URL{Scheme: "https", Host: hostport})
	if err != nil {
		return nil, fmt.Errorf("the environment's proxy setting: %w", err)
	}
	if via == nil {
		conn, err := d.DialContext(ctx, "tcp", hostport)
		if err != nil {
			return nil, fmt.Errorf("cannot reach %s: %w", hostport, err)
		}
		return conn, nil
	}
	conn, err := dialVia(ctx, via, hostport)
	if err != nil {
		return nil, fmt.Errorf("through the proxy %s: %w", via.Redacted(), err)
	}
	return conn, nil
}

// dialVia reaches hostport through the proxy at via.
func dialVia(ctx context.Context, via *url.URL, hostport string) (net.Conn, error) {
	var d net.Dialer
	port := via.Port()
	switch via.Scheme {
	case "socks5", "socks5h":
		if port == "" {
			port = "1080"
		}
		var auth *socks.Auth
		if via.User != nil {
			password, _ := via.User.Password()
			auth = &socks.Auth{User: via.User.Username(), Password: password}
		}
		dialer, err := socks.SOCKS5("tcp", net.JoinHostPort(via.Hostname(), port), auth, &d)
		if err != nil {
			return nil, err
		}
		return dialer.(socks.ContextDialer).DialContext(ctx, "tcp", hostport)
	case "http", "https":
	default:
		return nil, fmt.Errorf("scheme %q is not supported", via.Scheme)
	}

	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[via.Scheme]
	}
	addr := net.JoinHostPort(via.Hostname(), port)
	var conn net.Conn
	var err error
	if via.Scheme == "https" {
		conn, err = (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", addr)
	} else {
		conn, err = d.DialContext(ctx, "tcp", addr)
	}
	if err != nil {
		return nil, err
	}
	tunnel, err := askTunnel(ctx, conn, via.User, hostport)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return tunnel, nil
}

// askTunnel sends CONNECT on conn and reads the answer.
func askTunnel(ctx context.Context, conn net.Conn, login *url.Userinfo, hostport string) (net.Conn, error) {
	// The deadline follows ctx, so that Close and the time limit end the wait.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: hostport}, Host: hostport, Header: http.Header{}}
	if login != nil {
		password, _ := login.Password()
		token := base64.StdEncoding.EncodeToString([]byte(login.Username() + ":" + password))
		req.Header.Set("Proxy-Authorization", "Basic "+token)
	}
	if err := req.Write(conn); err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, req)
	if err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	// The answer to CONNECT has no body; closing it reads nothing from conn.
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s", resp.Status)
	}
	if !stop() {
		return nil, ctx.Err()
	}
	if br.Buffered() > 0 {
		return &bufferedConn{Conn: conn, r: br}, nil
	}
	return conn, nil
}

// bufferedConn is a connection of which a reader has taken some bytes already.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c *bufferedConn) Read(b []byte) (int, error) { return c.r.Read(b) }

// CloseWrite half-closes the connection below, if it can.
func (c *bufferedConn) CloseWrite() error {
	if hc, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return hc.CloseWrite()
	}
	return c.Close()
}

// splice copies both ways until both ends are done, one fails, or Close.
// An end of input is passed on as a half-close, since a peer may still answer
// after it has read everything.
func (p *Proxy) splice(client, remote net.Conn) {
	stop := context.AfterFunc(p.ctx, func() {
		client.Close()
		remote.Close()
	})
	defer stop()

	var wg sync.WaitGroup
	wg.Go(func() { pass(remote, client) })
	wg.Go(func() { pass(client, remote) })
	wg.Wait()
}

// pass copies src to dst and then half-closes dst. On failure it closes both,
// which ends the other direction too.
func pass(dst, src net.Conn) {
	if _, err := io.Copy(dst, src); err != nil {
		dst.Close()
		src.Close()
		return
	}
	if hc, ok := dst.(interface{ CloseWrite() error }); ok {
		if hc.CloseWrite() == nil {
			return
		}
	}
	dst.Close()
	src.Close()
}
