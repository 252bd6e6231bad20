package controller

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/lanyard-id/lanyard/internal/channel"
	"github.com/lanyard-id/lanyard/internal/workloadidentity"
)

// newCloud makes what there is before a Lanyard alone.
func (w *Webhook) newCloud(c WebhookConfig, k kubernetes) (err error) {
	cloud := c.Settings.Cloud
	if cloud == nil && c.Channel == nil {
		return nil
	}
	if c.AuthorityFile == "" {
		return errors.New("the file of the cloud's authority is not given: LANYARD_CA_FILE")
	}
	if w.authority, err = newAuthorityFile("the cloud", c.AuthorityFile, c.Log); err != nil {
		return err
	}
	if cloud != nil {
		w.update(w.authority.load().name)
		if w.routes, err = newRoutes(c.Settings, w.authority, w.metrics, c.Log); err != nil {
			return err
		}
		if keys := cloud.TrustKeys(); len(keys) > 0 {
			w.trust = newTrustMaps(k.dynamic, k.metadata, keys, w.authority, c.Log)
		}
	}
	if c.Channel == nil {
		return nil
	}
	if w.link, err = newLink(c, w.authority); err != nil {
		return err
	}
	w.reporter = &reporter{
		link: w.link, api: k.api, metadata: k.metadata, version: w.version, detector: w.detector, release: c.Version,
		every: lookEvery, pause: channel.ReportPauseSeconds * time.Second, log: c.Log,
	}
	return nil
}

// name puts the names of the authority into settings.
func (a *authority) name(next *workloadidentity.Settings) {
	if next.Cloud == nil {
		return
	}
	cloud := *next.Cloud // others read the former one
	cloud.SubjectHashes = slices.Clone(a.hashes)
	next.Cloud = &cloud
}

// data puts the authority into the settings of the custom token endpoint.
func (a *authority) data(next *workloadidentity.Settings) {
	custom := *next.CustomToken
	custom.CAData = string(a.pem)
	next.CustomToken = &custom
}

// followAuthority keeps settings up to an authority's file until ctx ends.
func (w *Webhook) followAuthority(ctx context.Context, file *authoritySource, apply func(*authority, *workloadidentity.Settings)) {
	for {
		a := file.load()
		w.update(func(next *workloadidentity.Settings) { apply(a, next) })
		select {
		case <-ctx.Done():
			return
		case <-a.changed:
		}
	}
}

// lead makes sure that a pod that is admitted gets to the cloud and to nobody
// else, and finds what it needs to know the cloud by.
func (w *Webhook) lead(ctx context.Context, r *workloadidentity.ReviewRequest, m workloadidentity.Mutation) error {
	if w.routes == nil || m.Authority == "" {
		return nil
	}
	if err := w.routes.check(m.Authority); err != nil {
		return &workloadidentity.DenialError{Code: http.StatusServiceUnavailable, Message: fmt.Sprintf(
			"the route by which the pod would reach the cloud is not in order, and its tokens might go to someone else; pods are refused until it is: %v", err)}
	}
	if !m.Trust || r.DryRun || w.trust == nil {
		return nil
	}
	err := w.trust.ensure(ctx, r.Namespace)
	if _, ok := errors.AsType[*workloadidentity.DenialError](err); err == nil || ok {
		return err
	}
	w.log.ErrorContext(ctx, "the cloud's authority cannot be brought to a namespace", "namespace", r.Namespace, "error", err)
	return &workloadidentity.DenialError{Code: http.StatusInternalServerError, Message: fmt.Sprintf(
		"config map %s/%s, from which the pod learns whom to trust, could not be made; the webhook's log says why", r.Namespace, workloadidentity.TrustConfigMap)}
}
