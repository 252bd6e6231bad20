package arm

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// maxBody is the Resource Manager's limit on a request's content.
const maxBody = 4 << 20

// readBody reads the content, whatever its Content-Type says: clients are
// careless with it and nothing but JSON is meant.
func (x *exchange) readBody() (json.RawMessage, error) {
	if x.read {
		return x.body, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, azure.Errorf(http.StatusRequestEntityTooLarge, "RequestContentTooLarge",
			"The request content is larger than the limit of %d bytes.", maxBody)
	}
	if err != nil {
		refused := azure.Errorf(http.StatusBadRequest, "InvalidRequestContent", "The request content could not be read.")
		refused.Err = err
		return nil, refused
	}
	x.body, x.read = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), true
	return x.body, nil
}

// readJSON reads the content and checks that it is JSON, or empty in a POST.
func (x *exchange) readJSON() (json.RawMessage, error) {
	body, err := x.readBody()
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(body)) == 0 && x.r.Method == http.MethodPost {
		return nil, nil
	}
	if !utf8.Valid(body) {
		return nil, invalidContent(body, "", errors.New("The text is not valid UTF-8")) //nolint:staticcheck // a sentence of the client's error
	}
	var text json.RawMessage
	if err := json.Unmarshal(body, &text); err != nil {
		return nil, invalidContent(body, "", err)
	}
	return body, nil
}

// content is the envelope of a body. Members that a body lacks are nil.
type content struct {
	ID         *string            `json:"id"`
	Name       *string            `json:"name"`
	Type       *string            `json:"type"`
	Location   *string            `json:"location"`
	Tags       map[string]*string `json:"tags"`
	Kind       *string            `json:"kind"`
	ManagedBy  *string            `json:"managedBy"`
	SKU        json.RawMessage    `json:"sku"`
	Identity   json.RawMessage    `json:"identity"`
	Plan       json.RawMessage    `json:"plan"`
	Zones      json.RawMessage    `json:"zones"`
	Properties json.RawMessage    `json:"properties"`
}

// tags gives the tags, of which a null value is an empty one; nil if there are
// none in the body.
func (c *content) tags() map[string]string {
	if c.Tags == nil {
		return nil
	}
	tags := make(map[string]string, len(c.Tags))
	for name, value := range c.Tags {
		if value != nil {
			tags[name] = *value
		} else {
			tags[name] = ""
		}
	}
	return tags
}

// decodeContent reads the envelope and checks that it doesn't contradict the
// URL.
func (x *exchange) decodeContent() (*content, error) {
	body, err := x.readJSON()
	if err != nil {
		return nil, err
	}
	var c content
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, invalidContent(body, "", err)
	}
	if isNull(body) {
		return nil, invalidContent(body, "", errors.New("A JSON object is expected")) //nolint:staticcheck // as above
	}
	for _, raw := range []*json.RawMessage{&c.SKU, &c.Identity, &c.Plan, &c.Zones, &c.Properties} {
		if isNull(*raw) {
			*raw = nil
		}
	}
	if c.Properties != nil && c.Properties[0] != '{' {
		return nil, invalidContent(body, "properties", errors.New("A JSON object is expected")) //nolint:staticcheck // as above
	}
	if err := x.contradiction(&c); err != nil {
		return nil, err
	}
	if err := checkTags(c.tags()); err != nil {
		return nil, err
	}
	return &c, nil
}

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

// contradiction compares what the body says of the resource's identity with the
// URL.
func (x *exchange) contradiction(c *content) error {
	t := x.target
	refuse := func(member, body, url string) error {
		err := azure.Errorf(http.StatusBadRequest, "InvalidRequestContent",
			"The request content was invalid: the %s '%s' in it does not match '%s', which the request URI names.", member, body, url)
		err.Target = member
		return err
	}
	if c.ID != nil && *c.ID != "" {
		id, err := azure.ParseResourceID(*c.ID)
		if err != nil || !id.Equal(t.id) {
			return refuse("id", *c.ID, t.id.String())
		}
	}
	if c.Name != nil && *c.Name != "" && !azure.EqualFold(*c.Name, t.name) && !strings.HasSuffix(t.id.Key(), "/"+azure.Fold(lastName(*c.Name))) {
		return refuse("name", *c.Name, t.name)
	}
	if c.Type != nil && *c.Type != "" && !azure.EqualFold(*c.Type, t.typ.spec.Name) && !aliasType(*c.Type, t.typ.spec.Name) {
		return refuse("type", *c.Type, t.typ.spec.Name)
	}
	return nil
}

// lastName gives the child's own name of "parent/child", which templates write.
func lastName(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// aliasType accepts the type of resource groups without "subscriptions", which
// Azure itself prints.
func aliasType(given, want string) bool {
	return azure.EqualFold(want, resourceGroupType) && azure.EqualFold(given, "Microsoft.Resources/resourceGroups")
}

// The limits on tags.
const (
	maxTags     = 50
	maxTagName  = 512
	maxTagValue = 256
)

// checkTags applies ARM's limits on the tags of one resource.
func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return azure.Errorf(http.StatusBadRequest, "TooManyTags",
			"The resource has %d tags. The maximum number of tags is %d.", len(tags), maxTags)
	}
	seen := map[string]string{}
	for name, value := range tags {
		switch {
		case name == "" || strings.TrimSpace(name) == "":
			return azure.Errorf(http.StatusBadRequest, "InvalidTagName", "The tag name must not be null, empty or consist of blanks only.")
		case utf16Len(name) > maxTagName:
			return azure.Errorf(http.StatusBadRequest, "InvalidTagName",
				"Tag key too large. Following tag name '%s' exceeded the maximum length. Maximum allowed length for tag name - '%d' characters.", name, maxTagName)
		case strings.ContainsAny(name, `<>%&\?/`) || strings.ContainsFunc(name, isControl):
			return azure.Errorf(http.StatusBadRequest, "InvalidTagNameCharacters",
				"The tag names '%s' have reserved characters '<,>,%%,&,\\,?,/' or control characters.", name)
		case utf16Len(value) > maxTagValue:
			return azure.Errorf(http.StatusBadRequest, "InvalidTagValueLength",
				"Tag value too large. Following tag value '%s' exceeded the maximum length. Maximum allowed length for tag value - '%d' characters.", value, maxTagValue)
		}
		if other, twice := seen[azure.Fold(name)]; twice {
			return azure.Errorf(http.StatusBadRequest, "DuplicateTagName",
				"The tag names '%s' and '%s' differ in case only. Tag names are case-insensitive.", min(name, other), max(name, other))
		}
		seen[azure.Fold(name)] = name
	}
	return nil
}

// utf16Len counts as Azure does.
func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}

// mergePatch applies a JSON merge patch (RFC 7396) to a document, both JSON
// texts; an empty one is an empty object.
func mergePatch(doc, patch json.RawMessage) (json.RawMessage, error) {
	var changes map[string]json.RawMessage
	if len(patch) == 0 {
		return doc, nil
	}
	if err := json.Unmarshal(patch, &changes); err != nil {
		return nil, err
	}
	members := map[string]json.RawMessage{}
	if len(doc) > 0 && bytes.TrimSpace(doc)[0] == '{' {
		if err := json.Unmarshal(doc, &members); err != nil {
			return nil, err
		}
	}
	for name, change := range changes {
		switch change = bytes.TrimSpace(change); {
		case isNull(change):
			delete(members, name)
		case change[0] == '{':
			merged, err := mergePatch(members[name], change)
			if err != nil {
				return nil, err
			}
			members[name] = merged
		default:
			members[name] = change
		}
	}
	return json.Marshal(members)
}
