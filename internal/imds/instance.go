package imds

import (
	"net/http"
	"slices"
	"sort"
	"strings"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Instance describes the machine, as /metadata/instance shows it. Empty strings
// are shown as such, as Azure does.
type Instance struct {
	Name           string
	Location       string
	SubscriptionID string
	ResourceGroup  string
	ResourceID     string
	VMID           string
	VMSize         string
	VMScaleSetName string
	Zone           string
	Tags           map[string]string
	PrivateIPv4    string
	Environment    string // azEnvironment; "" is "AzurePublicCloud"
	FaultDomain    string
}

// versions are the api-versions of the service's other endpoints, as Azure
// lists them, oldest first.
var versions = []string{
	"2017-03-01", "2017-04-02", "2017-08-01", "2017-10-01", "2017-12-01", "2018-02-01", "2018-04-02", "2018-10-01",
	"2019-02-01", "2019-03-11", "2019-04-30", "2019-06-01", "2019-06-04", "2019-08-01", "2019-08-15", "2019-11-01",
	"2020-06-01", "2020-07-15", "2020-09-01", "2020-10-01", "2020-12-01", "2021-01-01", "2021-02-01", "2021-03-01",
	"2021-05-01", "2021-10-01", "2021-11-01", "2021-11-15", "2021-12-13", "2023-07-01", "2023-11-15",
}

const badRequest = "Bad request. "

func (h *Handler) versions(w http.ResponseWriter, r *http.Request) {
	if !allowGet(w, r) {
		return
	}
	if err := checkRequest(r); err != nil {
		writeInstanceError(w, err.Status, badRequest+err.Message, nil)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"apiVersions": versions})
}

// instance answers /metadata/instance and what is below it: the path is a way
// through the document, and a leaf may be had as text.
func (h *Handler) instance(w http.ResponseWriter, r *http.Request, path string) {
	if !allowGet(w, r) {
		return
	}
	if err := checkRequest(r); err != nil {
		writeInstanceError(w, err.Status, badRequest+err.Message, nil)
		return
	}
	query, bad := parseQuery(r.URL.RawQuery)
	if bad != nil {
		writeInstanceError(w, bad.Status, badRequest+bad.Message, nil)
		return
	}
	newest := []string{versions[len(versions)-1], versions[len(versions)-2], versions[len(versions)-3]}
	version := query.Get("api-version")
	if version == "" {
		writeInstanceError(w, http.StatusBadRequest, badRequest+"api-version was not specified in the request. For more information refer to aka.ms/azureimds",
			map[string]any{"newest-versions": newest})
		return
	}
	if !slices.Contains(versions, version) {
		writeInstanceError(w, http.StatusBadRequest, badRequest+"api-version is invalid or was not specified in the request. For more information refer to aka.ms/azureimds",
			map[string]any{"newest-versions": newest})
		return
	}
	if h.cfg.Instance == nil {
		writeInstanceError(w, http.StatusNotFound, "Not found", nil)
		return
	}
	node, found := walk(h.cfg.Instance.document(), path)
	if !found {
		writeInstanceError(w, http.StatusNotFound, "Not found", nil)
		return
	}
	text := query.Get("format") == "text"
	leaf, isLeaf := node.(string)
	switch {
	case text && isLeaf:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(leaf))
	case text:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(listing(node)))
	case isLeaf:
		writeInstanceError(w, http.StatusBadRequest, badRequest+"A leaf is served as text: add format=text to the query.", nil)
	default:
		writeJSON(w, http.StatusOK, node)
	}
}

// walk follows path (folded) through maps and lists.
func walk(node any, path string) (any, bool) {
	if path == "" {
		return node, true
	}
	name, rest, _ := strings.Cut(path, "/")
	switch n := node.(type) {
	case map[string]any:
		for key, child := range n {
			if azure.EqualFold(key, name) {
				return walk(child, rest)
			}
		}
	case []any:
		if len(name) == 1 && name[0] >= '0' && int(name[0]-'0') < len(n) {
			return walk(n[name[0]-'0'], rest)
		}
	}
	return nil, false
}

// listing names the children of a node, a line each, those with children of
// their own with a slash.
func listing(node any) string {
	var lines []string
	switch n := node.(type) {
	case map[string]any:
		for key, child := range n {
			if _, leaf := child.(string); !leaf {
				key += "/"
			}
			lines = append(lines, key)
		}
		sort.Strings(lines)
	case []any:
		for i := range n {
			lines = append(lines, string(rune('0'+i))+"/")
		}
	}
	return strings.Join(lines, "\n")
}

func (i *Instance) document() map[string]any {
	environment := i.Environment
	if environment == "" {
		environment = "AzurePublicCloud"
	}
	names := make([]string, 0, len(i.Tags))
	for name := range i.Tags {
		names = append(names, name)
	}
	sort.Strings(names)
	flat := make([]string, 0, len(names))
	list := make([]any, 0, len(names))
	for _, name := range names {
		flat = append(flat, name+":"+i.Tags[name])
		list = append(list, map[string]any{"name": name, "value": i.Tags[name]})
	}
	return map[string]any{
		"compute": map[string]any{
			"azEnvironment": environment, "location": i.Location, "name": i.Name, "osType": "Linux",
			"placementGroupId": "", "platformFaultDomain": i.FaultDomain, "platformUpdateDomain": i.FaultDomain,
			"provider": "Microsoft.Compute", "resourceGroupName": i.ResourceGroup, "resourceId": i.ResourceID,
			"sku": "", "subscriptionId": i.SubscriptionID, "tags": strings.Join(flat, ";"), "tagsList": list,
			"version": "", "vmId": i.VMID, "vmScaleSetName": i.VMScaleSetName, "vmSize": i.VMSize, "zone": i.Zone,
		},
		"network": map[string]any{"interface": []any{map[string]any{
			"ipv4": map[string]any{
				"ipAddress": []any{map[string]any{"privateIpAddress": i.PrivateIPv4, "publicIpAddress": ""}},
				"subnet":    []any{},
			},
			"ipv6": map[string]any{"ipAddress": []any{}}, "macAddress": "",
		}}},
	}
}
