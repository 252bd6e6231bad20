package workloadidentity

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// volumeName is the name of the token volume of a pod: the prefix and as many
// digits of the hash as a volume's name has room for.
func volumeName(pod *Pod) string {
	sum := sha256.Sum256([]byte(pod.DisplayName()))
	return VolumeNamePrefix + hex.EncodeToString(sum[:15])
}

// findVolume settles the token volume's name, and adds what the pod lacks of it:
// all, or what brings the cloud's authority. The volume is known by its prefix
// and its content, since its name depends on the pod's, which another webhook may
// set in between.
func (d *decision) findVolume(expiration int64) error {
	audience := d.settings.Audience
	if d.custom != nil {
		audience = d.custom.Audience
	}
	for i, v := range d.pod.Spec.Volumes {
		if has, ok := tokenAudience(v); ok {
			if has != audience {
				d.warnf("volume %q has a token for the audience %q, not %q: it is left as it is", v.Name, has, audience)
			}
			d.volume = v.Name
			if len(d.languages) > 0 && !v.bringsTrust() {
				d.out.Patch.appendTo("/spec/volumes/"+strconv.Itoa(i)+"/projected/sources", true, []jsontext.Value{d.trustSource()})
			}
			return nil
		}
	}
	d.volume = volumeName(d.pod)
	for _, v := range d.pod.Spec.Volumes {
		if v.Name == d.volume {
			return deny("volume %q has the name that is reserved for the workload identity token, and holds no token at %s", v.Name, TokenFilePath)
		}
	}
	d.out.Patch.appendTo("/spec/volumes", d.pod.Spec.Volumes != nil, []jsontext.Value{d.volumeValue(audience, expiration)})
	return nil
}

// bringsTrust tells whether the volume has the cloud's authority.
func (v *Volume) bringsTrust() bool {
	for _, s := range v.Projected.Sources {
		if s.ConfigMap != nil && s.ConfigMap.Name == TrustConfigMap {
			return true
		}
	}
	return false
}

// tokenAudience tells whether a volume is one that a workload identity webhook
// made, and whom its token is for.
func tokenAudience(v Volume) (audience string, ok bool) {
	if v.Projected == nil || !strings.HasPrefix(v.Name, VolumeNamePrefix) {
		return "", false
	}
	for _, s := range v.Projected.Sources {
		if t := s.ServiceAccountToken; t != nil && t.Path == TokenFilePath {
			return t.Audience, true
		}
	}
	return "", false
}

func (d *decision) volumeValue(audience string, expiration int64) jsontext.Value {
	b := make([]byte, 0, 320)
	b = appendString(append(b, `{"name":`...), d.volume)
	b = append(b, `,"projected":{"sources":[{"serviceAccountToken":{"path":"`+TokenFilePath+`","expirationSeconds":`...)
	b = strconv.AppendInt(b, expiration, 10)
	b = appendString(append(b, `,"audience":`...), audience)
	b = append(b, `}}`...)
	if d.custom != nil {
		b = d.custom.appendCASource(b)
	}
	if len(d.languages) > 0 {
		b = append(append(b, ','), d.trustSource()...)
	}
	return append(b, `]}}`...)
}

// caInVolume tells whether the token volume brings the endpoint's CA.
func (c *CustomTokenEndpoint) caInVolume() bool { return c.CAConfigMap != "" || c.CASigner != "" }

// appendCASource appends the volume source that carries the endpoint's CA.
func (c *CustomTokenEndpoint) appendCASource(b []byte) []byte {
	var source any
	switch {
	case c.CAConfigMap != "":
		source = map[string]any{"configMap": map[string]any{
			"name": c.CAConfigMap, "optional": false,
			"items": []map[string]string{{"key": "ca.crt", "path": CAFilePath}},
		}}
	case c.CASigner != "":
		bundle := struct {
			SignerName    string                `json:"signerName"`
			LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty"`
			Optional      bool                  `json:"optional"`
			Path          string                `json:"path"`
		}{c.CASigner, c.CALabelSelector, false, CAFilePath}
		source = map[string]any{"clusterTrustBundle": bundle}
	default:
		return b
	}
	raw, err := json.Marshal(source)
	if err != nil {
		panic(err) // strings and a label selector always have a JSON form
	}
	return append(append(b, ','), raw...)
}

func (d *decision) mountValue() jsontext.Value {
	b := make([]byte, 0, 128)
	b = appendString(append(b, `{"name":`...), d.volume)
	return append(b, `,"readOnly":true,"mountPath":"`+MountPath+`"}`...)
}

// HasToken tells whether the volume is a workload identity webhook's, of any
// release, or brings a token for one of the audiences by other means.
func (v *Volume) HasToken(audiences ...string) bool {
	if _, ok := tokenAudience(*v); ok {
		return true
	}
	if v.Projected == nil {
		return false
	}
	for _, s := range v.Projected.Sources {
		if t := s.ServiceAccountToken; t != nil && slices.Contains(audiences, t.Audience) {
			return true
		}
	}
	return false
}
