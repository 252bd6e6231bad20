package provider

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/lanyard-id/lanyard/internal/arm"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/token"
)

// defaultLead is how long a new signing key is published before it signs, when
// the request does not say: every client that reads keys once a day then knows
// the key before it meets a token of it.
const (
	defaultLead = 24 * time.Hour
	maxLead     = 30 * 24 * time.Hour
)

// signingKeys is Lanyard.Directory/signingKeys: the keys by which the tokens of
// all tenants are signed, without their private parts. A POST on the list
// publishes a new one, which succeeds the one that signs.
func signingKeys(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name: "Lanyard.Directory/signingKeys", Versions: cloudVersions, In: arm.AtTenant, CloudWide: true,
		Action: "Microsoft.Authorization/signingKeys",
	}, arm.VirtualHooks{
		Action: postWrites("Microsoft.Authorization/signingKeys"),
		List: func(_ context.Context, r *arm.Request) ([]any, error) {
			items := []any{}
			signs := false // the newest whose time has come
			for _, key := range cfg.Keys.List() {
				signing := !signs && !key.SignsFrom.After(r.Now)
				signs = signs || signing
				items = append(items, showSigningKey(key, signing, r.Now))
			}
			return items, nil
		},
		Post: func(ctx context.Context, r *arm.Request, body json.RawMessage) (int, any, error) {
			return rotateSigningKey(ctx, cfg, r, body)
		},
	})
}

// postWrites names a POST on the list a write: the action of it is then not
// among those that a Contributor has.
func postWrites(prefix string) func(*arm.Request, string) string {
	return func(_ *arm.Request, operation string) string {
		if operation == "action" {
			return prefix + "/write"
		}
		return ""
	}
}

func rotateSigningKey(ctx context.Context, cfg Config, r *arm.Request, body json.RawMessage) (int, any, error) {
	asked := struct {
		LeadTimeSeconds int64 `json:"leadTimeSeconds"`
	}{int64(defaultLead / time.Second)}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &asked); err != nil {
			return 0, nil, arm.InvalidContent(body, err)
		}
	}
	if asked.LeadTimeSeconds < 0 || asked.LeadTimeSeconds > int64(maxLead/time.Second) {
		return 0, nil, azure.Errorf(http.StatusBadRequest, "InvalidLeadTime",
			"The leadTimeSeconds %d is not valid: it is from 0 to %d.", asked.LeadTimeSeconds, int64(maxLead/time.Second))
	}
	key, err := cfg.Keys.Rotate(ctx, time.Duration(asked.LeadTimeSeconds)*time.Second)
	switch {
	case errors.Is(err, token.ErrRotating):
		return 0, nil, azure.Errorf(http.StatusConflict, "RotationUnderWay",
			"A signing key is published already that does not sign yet. Wait until it signs.")
	case errors.Is(err, token.ErrTooManyKeys):
		return 0, nil, azure.Errorf(http.StatusConflict, "TooManySigningKeys",
			"Too many replaced signing keys have tokens that are still valid. Wait until one retires.")
	case err != nil:
		return 0, nil, err
	}
	return http.StatusCreated, showSigningKey(key, asked.LeadTimeSeconds == 0, r.Now), nil
}

func showSigningKey(key token.Key, signing bool, now time.Time) map[string]any {
	props := map[string]any{"published": key.Published, "signsFrom": key.SignsFrom}
	switch {
	case signing:
		props["state"] = "Signing"
	case key.SignsFrom.After(now):
		props["state"] = "Published" // and does not sign yet
	default:
		props["state"] = "Replaced" // its tokens are still accepted
	}
	if !key.RetiresAt.IsZero() {
		props["retiresAt"] = key.RetiresAt
	}
	return cloudItem("signingKeys", key.ID, props)
}

// sealingKeys is Lanyard.Directory/sealingKeys: which keys this replica seals
// and opens the secrets in the store with, by their names, and how many values
// are sealed under each. The keys themselves come from the operator's file.
func sealingKeys(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name: "Lanyard.Directory/sealingKeys", Versions: cloudVersions, In: arm.AtTenant, CloudWide: true,
		Action: "Microsoft.Authorization/sealingKeys",
	}, arm.VirtualHooks{
		List: func(ctx context.Context, _ *arm.Request) ([]any, error) {
			counts, err := cfg.Store.SealedBy(ctx)
			if err != nil {
				return nil, err
			}
			items := []any{}
			ring := cfg.Store.KeyIDs()
			for i, id := range ring {
				items = append(items, cloudItem("sealingKeys", id, map[string]any{"seals": i == 0, "opens": true, "values": counts[id]}))
			}
			for _, id := range slices.Sorted(maps.Keys(counts)) {
				if !slices.Contains(ring, id) {
					items = append(items, cloudItem("sealingKeys", id, map[string]any{"seals": false, "opens": false, "values": counts[id]}))
				}
			}
			return items, nil
		},
	})
}

// cloudItem is one of Lanyard's own resources on the wire.
func cloudItem(kind, name string, properties map[string]any) map[string]any {
	return map[string]any{
		"id": "/providers/Lanyard.Directory/" + kind + "/" + name, "name": name, "type": "Lanyard.Directory/" + kind, "properties": properties,
	}
}

// backups is Lanyard.Directory/backups: a POST answers with a backup of the
// whole cloud as it is at one moment, of every tenant, secrets sealed.
func backups(cfg Config) arm.Type {
	return arm.Virtual(arm.Spec{
		Name: "Lanyard.Directory/backups", Versions: cloudVersions, In: arm.AtTenant, CloudWide: true,
		Action: "Microsoft.Authorization/backups",
	}, arm.VirtualHooks{
		Action: postWrites("Microsoft.Authorization/backups"),
		Post: func(context.Context, *arm.Request, json.RawMessage) (int, any, error) {
			return http.StatusOK, &arm.Stream{
				ContentType: "application/octet-stream",
				Write: func(ctx context.Context, w io.Writer) error {
					_, err := cfg.Store.Backup(ctx, w, cfg.BackupNotes)
					return err
				},
			}, nil
		},
	})
}
