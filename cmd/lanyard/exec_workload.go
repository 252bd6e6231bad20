package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/atomicfile"
	"github.com/lanyard-id/lanyard/internal/token"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// exchangeAudience is the audience of the service-account tokens that the
// workload identity webhook projects.
const exchangeAudience = workloadidentity.DefaultAudience

// tokenLifetime is how long a projected token lasts, the webhook's default; the
// kubelet replaces it when four fifths of that have passed.
const tokenLifetime = time.Hour

// workloadFlags say which service account a program runs as.
type workloadFlags struct{ serviceAccount, issuer, signingKey string }

func (f *workloadFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.serviceAccount, "service-account", "", "run as a workload of this service account, `NAMESPACE/NAME`")
	cmd.Flags().StringVar(&f.issuer, "issuer", "", "`URL` of the issuer of its tokens")
	cmd.Flags().StringVar(&f.signingKey, "signing-key", "", "PEM `FILE` with the issuer's private key (RSA)")
}

func (f *workloadFlags) check() error {
	if f.serviceAccount == "" {
		if f.issuer != "" || f.signingKey != "" {
			return errors.New("--issuer and --signing-key are for --service-account")
		}
		return nil
	}
	if _, _, err := splitServiceAccount(f.serviceAccount); err != nil {
		return err
	}
	if f.issuer == "" || f.signingKey == "" {
		return errors.New("--service-account needs --issuer and --signing-key: the cloud checks the token by the issuer's published keys")
	}
	return nil
}

// splitServiceAccount reads the flag --service-account.
func splitServiceAccount(account string) (namespace, name string, err error) {
	namespace, name, ok := strings.Cut(account, "/")
	if !ok || namespace == "" || name == "" || strings.ContainsAny(name, "/:") || strings.Contains(namespace, ":") {
		return "", "", fmt.Errorf("--service-account %q is not NAMESPACE/NAME", account)
	}
	return namespace, name, nil
}

// pod is what a workload finds: a file with its token, replaced in time.
type pod struct {
	file   string
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// project signs a first token, writes it into dir and keeps it fresh until close.
func (f *workloadFlags) project(ctx context.Context, dir string) (*pod, error) {
	raw, err := os.ReadFile(f.signingKey)
	if err != nil {
		return nil, fmt.Errorf("reading the signing key: %w", err)
	}
	signer, err := token.NewServiceAccountSigner(f.issuer, raw)
	if err != nil {
		return nil, fmt.Errorf("the signing key %s: %w", f.signingKey, err)
	}
	p := &pod{file: filepath.Join(dir, "azure-identity-token")}
	namespace, name, err := splitServiceAccount(f.serviceAccount)
	if err != nil {
		return nil, err
	}
	write := func() error {
		text, err := signer.Token(namespace, name, exchangeAudience, time.Now(), tokenLifetime)
		if err != nil {
			return err
		}
		return atomicfile.Write(p.file, []byte(text), 0o600)
	}
	if err := write(); err != nil {
		return nil, fmt.Errorf("projecting the service-account token: %w", err)
	}
	ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	p.done.Go(func() {
		tick := time.NewTicker(tokenLifetime * 4 / 5)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := write(); err != nil {
					fmt.Fprintln(os.Stderr, "lanyard exec: the service-account token could not be replaced:", err)
				}
			case <-ctx.Done():
				return
			}
		}
	})
	return p, nil
}

func (p *pod) close() {
	p.cancel()
	p.done.Wait()
}

func (p *pod) variables() []variable {
	return []variable{{"AZURE_FEDERATED_TOKEN_FILE", p.file}}
}
