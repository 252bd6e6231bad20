package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// kubernetes is the API server by each of the ways in which it is asked, over one
// pool of connections.
type kubernetes struct {
	config   *rest.Config
	http     *http.Client
	metadata metadata.Interface
	dynamic  dynamic.Interface
	api      *apiServer
}

func newKubernetes(config *rest.Config) (kubernetes, error) {
	// client-go's default of five requests a second is for commands.
	k := kubernetes{config: rest.CopyConfig(config)}
	k.config.QPS, k.config.Burst = 50, 100
	var err error
	if k.http, err = rest.HTTPClientFor(k.config); err == nil {
		k.metadata, err = metadata.NewForConfigAndClient(metadata.ConfigFor(k.config), k.http)
	}
	if err == nil {
		k.dynamic, err = dynamic.NewForConfigAndClient(k.config, k.http)
	}
	if err == nil {
		k.api, err = newAPIServer(k.config, k.http)
	}
	if err != nil {
		return k, fmt.Errorf("reaching the API server: %w", err)
	}
	return k, nil
}

// apiServer asks the API server for documents that are no resources.
type apiServer struct {
	base   *url.URL
	client *http.Client
}

func newAPIServer(config *rest.Config, client *http.Client) (*apiServer, error) {
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	return &apiServer{base: base, client: client}, nil
}

// Bounds of a document.
const (
	documentTimeout = 10 * time.Second
	maxDocument     = 256 << 10
)

// get reads a JSON document.
func (a *apiServer) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, documentTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base.JoinPath(path).String(), nil)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxDocument)).Decode(into); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// version asks for the cluster's version.
func (a *apiServer) version(ctx context.Context) (*version.Version, error) {
	var answer struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := a.get(ctx, "/version", &answer); err != nil {
		return nil, err
	}
	return version.ParseGeneric(answer.GitVersion)
}
