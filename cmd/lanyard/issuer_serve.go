package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/issuer"
	"github.com/lanyard-id/lanyard/internal/server"
)

// issuerServing says how an issuer's documents are served.
type issuerServing struct{ listen, certificate, key string }

const (
	// rereadEvery is how soon a rotation shows.
	rereadEvery = 2 * time.Second
	// stopWithin is how long requests under way may take when it is told to stop.
	stopWithin = 5 * time.Second
)

func (f *issuerServing) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "serve", "", "serve the documents over https on `HOST:PORT`")
	flags.StringVar(&f.certificate, "tls-cert-file", "", "PEM `FILE` of the server's certificate chain")
	flags.StringVar(&f.key, "tls-private-key-file", "", "PEM `FILE` of its private key")
}

func (f *issuerServing) check() error {
	if f.listen == "" && (f.certificate != "" || f.key != "") {
		return command.Usagef("--tls-cert-file and --tls-private-key-file are for --serve")
	}
	if f.listen != "" && (f.certificate == "" || f.key == "") {
		return command.Usagef("--serve needs --tls-cert-file and --tls-private-key-file: an issuer is read over https alone")
	}
	return nil
}

// run serves until the command's context ends.
func (f *issuerServing) run(cmd *cobra.Command, source issuer.Source, out command.Output) error {
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	certificates, err := server.OpenCertificateFiles(server.TLSConfig{CertFile: f.certificate, KeyFile: f.key}, log)
	if err != nil {
		return err
	}
	handler, err := issuer.NewHandler(ctx, source, log)
	if err != nil {
		return unlessStopped(err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return unlessStopped(err)
	}
	s := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 32 << 10,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug), // strangers' broken handshakes
		TLSConfig:      &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificates.GetCertificate},
	}
	var following sync.WaitGroup
	following.Go(func() { handler.Run(ctx, rereadEvery) })
	defer following.Wait()
	defer stop()
	served := make(chan error, 1)
	go func() { served <- s.ServeTLS(l, "", "") }()
	f.sayReady(cmd, handler, l.Addr().String(), out, log)
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	err = s.Shutdown(within)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.Close()
	}
	return err
}

// sayReady prints the one line that scripts wait for.
func (f *issuerServing) sayReady(cmd *cobra.Command, h *issuer.Handler, address string, out command.Output, log *slog.Logger) {
	var err error
	d := h.Documents()
	if out.JSON() {
		err = command.PrintJSON(cmd.OutOrStdout(), map[string]any{"ready": true, "listen": address, "issuer": d.Issuer, "keyIds": d.KeyIDs(), "paths": h.Paths()})
	} else {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "The issuer %s is served on %s\n", d.Issuer, address)
	}
	if err != nil {
		log.Warn("the ready line cannot be written", "error", err)
	}
}
