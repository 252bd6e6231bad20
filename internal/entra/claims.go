package entra

import (
	"encoding/json"
	"slices"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// capabilities are those of clients that mean something to Entra's services, as
// tokens spell them. CP1: the client answers a claims challenge.
var capabilities = []string{"CP1"}

// parseClaims reads the claims parameter: a JSON object of OpenID Connect's
// claims requests. Clients use it to say what they are capable of (xms_cc), and
// to answer a claims challenge with what the challenge held. It gives the known
// capabilities. All else is passed over: an application has no sign-in that
// another demand could change, and every token is issued on the directory's
// present state, which is what a challenge asks for.
func parseClaims(claims string) ([]string, *azure.Error) {
	if claims == "" {
		return nil, nil
	}
	var request map[string]map[string]json.RawMessage
	if err := json.Unmarshal([]byte(claims), &request); err != nil || request == nil {
		return nil, errParameter.new("claims")
	}
	named, ok := request["access_token"]["xms_cc"]
	if !ok {
		return nil, nil
	}
	var wanted struct {
		Value  string   `json:"value"`
		Values []string `json:"values"`
	}
	if err := json.Unmarshal(named, &wanted); err != nil {
		return nil, errParameter.new("claims")
	}
	var known []string
	for _, name := range capabilities {
		if slices.ContainsFunc(append(wanted.Values, wanted.Value), func(v string) bool { return azure.EqualFold(v, name) }) {
			known = append(known, name)
		}
	}
	return known, nil
}
