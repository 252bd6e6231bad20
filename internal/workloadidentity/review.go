package workloadidentity

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

// Versions of the AdmissionReview that the webhook speaks.
const (
	reviewV1      = "admission.k8s.io/v1"
	reviewV1Beta1 = "admission.k8s.io/v1beta1"
)

// Review is an AdmissionReview as the API server sends it, as far as it matters.
type Review struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Request    *ReviewRequest `json:"request"`
}

// ReviewRequest is the question of a review.
type ReviewRequest struct {
	UID         string         `json:"uid"`
	Resource    ReviewResource `json:"resource"`
	SubResource string         `json:"subResource"`
	Namespace   string         `json:"namespace"`
	Operation   string         `json:"operation"`
	DryRun      bool           `json:"dryRun"`
	Object      *Pod           `json:"object"`
}

// ReviewResource is what a request is about.
type ReviewResource struct {
	Group    string `json:"group"`
	Resource string `json:"resource"`
}

// ParseReview reads an AdmissionReview about a pod. Names are compared exactly,
// and one that counts and comes twice is refused: what is read here must be what the API
// server reads when it applies the patch. With an error the review holds what
// could be read of it, so that the answer can carry its UID and version.
func ParseReview(body []byte) (*Review, error) {
	r := new(Review)
	if !utf8.Valid(body) {
		return r, errors.New("reading the AdmissionReview: it is not UTF-8")
	}
	if err := json.Unmarshal(body, r, readOptions); err != nil {
		return r, fmt.Errorf("reading the AdmissionReview: %w", err)
	}
	switch {
	case r.Kind != "AdmissionReview":
		return r, fmt.Errorf("want kind AdmissionReview, not %q", r.Kind)
	case r.APIVersion != reviewV1 && r.APIVersion != reviewV1Beta1:
		return r, fmt.Errorf("want an AdmissionReview of %s or %s, not %q", reviewV1, reviewV1Beta1, r.APIVersion)
	case r.Request == nil:
		return r, errors.New("the AdmissionReview has no request")
	}
	return r, nil
}

// Creates tells whether the request makes a pod. Nothing else is ever changed: a
// running pod's containers and volumes are fixed.
func (r *ReviewRequest) Creates() bool {
	return (r.Operation == "CREATE" || r.Operation == "") && r.SubResource == "" &&
		r.Resource.Group == "" && (r.Resource.Resource == "pods" || r.Resource.Resource == "")
}

// patches are kept for the next answer, which copies them.
var patches = sync.Pool{New: func() any { return new([]byte) }}

// AppendAnswer appends the AdmissionReview that answers r, as JSON: denied with
// err, or allowed with what m adds. It does so for a nil review too, one that could
// not be read. Nothing of r or m refers to the body that r was read from: dst may be
// its buffer.
func (r *Review) AppendAnswer(dst []byte, m Mutation, err error) []byte {
	uid, version := "", reviewV1
	if r != nil {
		if r.APIVersion == reviewV1Beta1 {
			version = reviewV1Beta1
		}
		if r.Request != nil {
			uid = r.Request.UID
		}
	}
	var patch []byte
	if len(m.Patch) > 0 {
		scratch := patches.Get().(*[]byte)
		defer patches.Put(scratch)
		*scratch = m.Patch.AppendJSON((*scratch)[:0])
		patch = *scratch
	}
	b := slices.Grow(dst, 512+base64.StdEncoding.EncodedLen(len(patch)))
	b = append(b, `{"kind":"AdmissionReview","apiVersion":"`...)
	b = append(b, version...)
	b = appendString(append(b, `","response":{"uid":`...), uid)
	if err != nil {
		return append(appendDenial(b, err), `}}`...)
	}
	b = append(b, `,"allowed":true`...)
	if len(patch) > 0 {
		b = append(b, `,"patchType":"JSONPatch","patch":"`...)
		b = base64.StdEncoding.AppendEncode(b, patch)
		b = append(b, '"')
	}
	for i, w := range m.Warnings {
		sep := `,`
		if i == 0 {
			sep = `,"warnings":[`
		}
		b = appendString(append(b, sep...), w)
	}
	if len(m.Warnings) > 0 {
		b = append(b, ']')
	}
	return append(b, `}}`...)
}

// appendDenial appends the refusal. An error that is no DenialError is the request's
// own: what was sent is no review of a pod.
func appendDenial(b []byte, err error) []byte {
	code := http.StatusBadRequest
	if denial, ok := errors.AsType[*DenialError](err); ok {
		code = denial.Code
	}
	b = append(b, `,"allowed":false,"status":{"code":`...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = appendString(append(b, `,"message":`...), err.Error())
	return append(b, '}')
}
