package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/lanyard-id/lanyard/internal/attach"
	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/command"
)

// addressByDNS is --address where the cluster's DNS leads names to the cloud.
const addressByDNS = "dns"

// attachmentOf is what the cluster will remember: the values that were given
// before, and over them those of this run. Flags are values too.
func (r *attachRun) attachmentOf() (attach.Attachment, error) {
	a := attach.Attachment{
		Namespace: r.namespace, ResourceID: r.id.String(), Cloud: r.arm.env.Endpoints.ResourceManager, Version: command.Version(),
	}
	var before map[string]any
	if r.before != nil {
		if a.Namespace != "" && a.Namespace != r.before.Namespace {
			return a, fmt.Errorf("the agent is in the namespace %s: it moves by `lanyard detach` and another attach", r.before.Namespace)
		}
		a.Namespace = r.before.Namespace
		if !r.reset {
			before = r.before.Values
		}
	}
	if a.Namespace == "" {
		a.Namespace = attach.DefaultNamespace
	}
	given, err := attach.ReadValues(r.values, r.settings)
	if err != nil {
		return a, err
	}
	flags, err := r.flagValues()
	if err != nil {
		return a, err
	}
	a.Values = attach.MergeValues(attach.MergeValues(before, given), flags)
	return a, nil
}

// flagValues are the values that flags stand for.
func (r *attachRun) flagValues() (map[string]any, error) {
	lanyard, values := map[string]any{}, map[string]any{}
	switch r.address {
	case "":
	case addressByDNS:
		lanyard["address"] = ""
	default:
		lanyard["address"] = r.address
	}
	if len(r.hosts) > 0 {
		lanyard["hosts"] = anys(r.hosts)
	}
	if len(r.authority) > 0 {
		lanyard["authority"] = anys(r.authority)
	}
	if len(lanyard) > 0 {
		values["lanyard"] = lanyard
	}
	if r.image != "" {
		image, err := imageValues(r.image)
		if err != nil {
			return nil, err
		}
		values["image"] = image
	}
	return values, nil
}

// anys is a list as YAML has it.
func anys(list []string) []any {
	all := make([]any, len(list))
	for i, s := range list {
		all[i] = s
	}
	return all
}

// imageValues takes NAME[:TAG][@DIGEST] apart.
func imageValues(image string) (map[string]any, error) {
	name, digest, _ := strings.Cut(image, "@")
	tag := ""
	if i := strings.LastIndex(name, ":"); i > strings.LastIndex(name, "/") {
		name, tag = name[:i], name[i+1:]
	}
	if name == "" || strings.HasSuffix(name, "/") || (tag == "" && digest == "" && strings.ContainsAny(image[len(name):], ":@")) {
		return nil, command.Usagef("--image %q is not NAME[:TAG|@DIGEST]", image)
	}
	return map[string]any{"repository": name, "release": tag, "digest": digest}, nil
}

// ownValues are those that attach knows itself. The operator's are over them.
func (r *attachRun) ownValues() (map[string]any, error) {
	env := r.arm.env
	ca, err := os.ReadFile(env.CAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the cloud's authority: %w", err)
	}
	_, port, err := net.SplitHostPort(env.Listen)
	if err != nil {
		return nil, fmt.Errorf("the environment file's listen: %w", err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("the environment file's listen: %w", err)
	}
	cloud := azure.Cloud{Domain: env.Domain, Port: number}
	lanyard := map[string]any{
		"caBundle": string(ca), "agentsURL": cloud.Agents(), "authorityHost": "",
		// Until the cloud has said what it calls the cluster.
		"clusterID": "00000000-0000-0000-0000-000000000000",
	}
	if r.registered != nil {
		if id := r.registered.Properties.Miscellaneous["clusterId"]; id != "" {
			lanyard["clusterID"] = id
		}
	}
	if r.enrolled.ClusterID != "" {
		lanyard["clusterID"], lanyard["agentsURL"] = r.enrolled.ClusterID, r.enrolled.AgentEndpoint
	}
	if slices.Contains(r.ways(), "own-host") {
		lanyard["authorityHost"] = cloud.ActiveDirectory() + "/"
	}
	if lanyard["address"], err = r.ownAddress(number); err != nil {
		return nil, err
	}
	values := map[string]any{"azureTenantID": env.TenantID, "lanyard": lanyard}
	// Another build than a release has no image of its version.
	if v := command.Version(); isRelease(v) {
		values["image"] = map[string]any{"release": v}
	}
	return values, nil
}

// isRelease reports whether a version is a release's, which has an image.
func isRelease(version string) bool {
	return strings.HasPrefix(version, "v") && !strings.Contains(version, "-")
}

// given reads a value of lanyard that the operator gave.
func (r *attachRun) given(name string) (any, bool) {
	lanyard, ok := r.attachment.Values["lanyard"].(map[string]any)
	if !ok {
		return nil, false
	}
	v, ok := lanyard[name]
	return v, ok
}

// ways are the chosen ways to the token service.
func (r *attachRun) ways() []string {
	list, ok := r.given("authority")
	if !ok {
		return []string{"alias"}
	}
	var ways []string
	if all, ok := list.([]any); ok {
		for _, way := range all {
			ways = append(ways, fmt.Sprint(way))
		}
	}
	return ways
}

// ownAddress is the cloud's address for pods where the operator gave none: the
// one that it listens on, none where names resolve by DNS.
func (r *attachRun) ownAddress(port int) (string, error) {
	if _, ok := r.given("address"); ok {
		return "", nil
	}
	env := r.arm.env
	host, _, err := net.SplitHostPort(env.Listen)
	if err != nil {
		return "", err
	}
	// The names of Azure that lead to the cloud have no port of their own.
	if port != 443 && slices.ContainsFunc(r.ways(), func(way string) bool { return way != "own-host" }) {
		return "", fmt.Errorf("pods ask the token service at port 443, and the cloud listens on port %d: start it with --listen ADDRESS:443; "+
			"or name with --address an address that leads from port 443 to it; or choose --authority own-host", port)
	}
	if a, err := netip.ParseAddr(host); err == nil && !a.IsLoopback() && !a.IsUnspecified() {
		return a.String(), nil
	} else if err == nil && a.IsLoopback() {
		return "", fmt.Errorf("pods cannot reach the cloud, which listens on %s: start it with --listen ADDRESS:443, or name with --address an address that leads to it", env.Listen)
	}
	if localNames(env.Domain) {
		return "", errors.New("pods cannot resolve the cloud's names below localhost: say with --address where they reach it")
	}
	return "", nil
}

// localNames reports whether names below a domain lead each machine to itself, so
// that no DNS has them.
func localNames(domain string) bool {
	return domain == "localhost" || strings.HasSuffix(domain, ".localhost")
}
