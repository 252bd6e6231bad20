// Command steady reads a secret again and again, as an application that never
// stops does, and tells of every failure. Each reading signs in anew, with the
// token file as it is then: nothing that an SDK keeps hides a failure.
//
// Usage: steady VAULT-URL SECRET-NAME. On SIGTERM it says how many readings there
// were, and how many failed, and ends with 0.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

// pause is the time between two readings.
const pause = 100 * time.Millisecond

// tally is printed as a JSON line: after the first success, after each failure,
// and at the end.
type tally struct {
	Reads    int    `json:"reads"`
	Failures int    `json:"failures"`
	Error    string `json:"error,omitempty"`
	Ended    bool   `json:"ended,omitempty"`
	// Token tells service account tokens apart: when this one was issued, and by
	// which key.
	Token string `json:"token,omitempty"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: steady VAULT-URL SECRET-NAME")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var t tally
	for ctx.Err() == nil {
		err := read(ctx, os.Args[1], os.Args[2])
		if ctx.Err() != nil {
			break
		}
		t.Reads, t.Error, t.Token = t.Reads+1, "", serviceAccountToken()
		if err != nil {
			t.Failures, t.Error = t.Failures+1, err.Error()
		}
		if err != nil || t.Reads-t.Failures == 1 || t.Reads%10 == 0 {
			say(t)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	t.Ended = true
	say(t)
}

func say(t tally) {
	if err := json.NewEncoder(os.Stdout).Encode(t); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// serviceAccountToken describes the token that the pod has now.
func serviceAccountToken() string {
	raw, err := os.ReadFile(os.Getenv("AZURE_FEDERATED_TOKEN_FILE"))
	if err != nil {
		return err.Error()
	}
	var parts struct {
		KeyID    string `json:"kid"`
		IssuedAt int64  `json:"iat"`
	}
	for part := range strings.SplitSeq(string(raw), ".") {
		if text, err := base64.RawURLEncoding.DecodeString(part); err == nil {
			_ = json.Unmarshal(text, &parts) // a signature is no JSON
		}
	}
	return fmt.Sprintf("%s %d", parts.KeyID, parts.IssuedAt)
}

func read(ctx context.Context, vault, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	credential, err := azidentity.NewWorkloadIdentityCredential(nil)
	if err != nil {
		return err
	}
	client, err := azsecrets.NewClient(vault, credential, nil)
	if err != nil {
		return err
	}
	_, err = client.GetSecret(ctx, name, "", nil)
	return err
}
