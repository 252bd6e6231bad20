// Package environment reads the file by which scripts and tests find a cloud, as
// anybody's script would: it knows the fields that the documents name, and
// nothing of the program that writes them.
package environment

import (
	"encoding/json"
	"fmt"
	"os"
)

// File is the content of an environment file.
type File struct {
	Listen         string `json:"listen"`
	TenantID       string `json:"tenantId"`
	SubscriptionID string `json:"subscriptionId"`
	Domain         string `json:"domain"`
	CAFile         string `json:"caFile"`
	Proxy          string `json:"proxy"`
	Endpoints      struct {
		ResourceManager string `json:"resourceManager"`
		ActiveDirectory string `json:"activeDirectory"`
		Graph           string `json:"graph"`
		VaultSuffix     string `json:"vaultSuffix"`
		// IMDS is empty where there is no metadata service.
		IMDS string `json:"imds"`
	} `json:"endpoints"`
	Bootstrap struct {
		ClientID     string `json:"clientId"`
		ClientSecret string `json:"clientSecret"`
		ObjectID     string `json:"objectId"`
	} `json:"bootstrap"`
}

// Read reads an environment file.
func Read(path string) (File, error) {
	var f File
	raw, err := os.ReadFile(path)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}
