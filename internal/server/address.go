package server

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/lanyard-id/lanyard/internal/atomicfile"
)

// portFileName holds the HTTPS port of the last start.
const portFileName = "port"

// Ports are chosen below the range from which Linux takes those of outgoing
// connections (32768 and up), so that on a later start none happens to sit on
// the kept port.
const (
	firstPort = 20000
	lastPort  = 32000
)

// listen opens the HTTPS listener. Port 0 means the port of the last start, or
// a free one on the first.
func listen(address, dataDir string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen address %q: %w", address, err)
	}
	file := filepath.Join(dataDir, portFileName)
	if port != "0" {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("%w: give another address with --listen HOST:PORT, or port 0 to have a free one chosen", err)
		}
		return keepPort(l, file)
	}
	kept, err := readPort(file)
	if err != nil {
		return nil, err
	}
	if kept != 0 {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(kept)))
		if err != nil {
			return nil, fmt.Errorf("%w: issuers and vault URIs of this data directory carry port %d; stop what listens there, "+
				"or move the cloud with --listen HOST:PORT, which changes those names", err, kept)
		}
		return l, nil
	}
	l, err := listenAnywhere(host)
	if err != nil {
		return nil, err
	}
	return keepPort(l, file)
}

// listenAnywhere listens on a free port.
func listenAnywhere(host string) (net.Listener, error) {
	const tries = 50
	for range tries {
		port := firstPort + rand.IntN(lastPort-firstPort) //nolint:gosec // any free port will do
		if l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))); err == nil {
			return l, nil
		}
	}
	return net.Listen("tcp", net.JoinHostPort(host, "0"))
}

// readPort gives the kept port, 0 when there is none.
func readPort(file string) (int, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the kept port: %w", err)
	}
	port, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("the kept port in %s is not a port: put the port into it that this cloud had", file)
	}
	return int(port), nil
}

func keepPort(l net.Listener, file string) (net.Listener, error) {
	if err := atomicfile.Write(file, []byte(strconv.Itoa(portOf(l))+"\n"), 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
