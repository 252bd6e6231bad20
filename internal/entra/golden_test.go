package entra_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/cloudtest"
	"github.com/lanyard-id/lanyard/internal/token"
)

// TestGolden sends the request of each file in testdata and compares what comes
// back, what the token says, and what the audit log holds. Names in braces
// stand for what differs from run to run; a parameter a line is encoded as a
// form, and "-- raw --" is a body as it is.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	cloudtest.Must(t, err)
	if len(files) == 0 {
		t.Fatal("no golden files")
	}
	clouds := map[string]*cloud{}
	var exchanges []*goldenExchange
	for i, file := range files {
		x := readGolden(t, file)
		c, ok := clouds[x.config]
		if !ok {
			c = newGoldenCloud(t, x.config)
			clouds[x.config] = c
		}
		x.run(t, c, fmt.Sprintf("00000000-0000-4000-8000-%012d", i))
		exchanges = append(exchanges, x)
	}
	records := map[string]json.RawMessage{}
	for _, c := range clouds {
		for line := range strings.Lines(c.AuditText()) {
			var id struct{ RequestID string }
			cloudtest.Must(t, json.Unmarshal([]byte(line), &id))
			records[id.RequestID] = json.RawMessage(line)
		}
	}
	for _, x := range exchanges {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(x.file, "testdata/"), ".txtar"), func(t *testing.T) {
			x.compare(t, records[x.requestID])
		})
	}
}

// newGoldenCloud makes the cloud of a config section: one word a line.
func newGoldenCloud(t *testing.T, config string) *cloud {
	t.Helper()
	var opts options
	words := strings.Fields(config)
	for _, word := range words {
		switch word {
		case "strict":
			opts.strict = true
		case "default-tenant":
			opts.defaultTenant = contoso
		case "private-addresses-refused":
			opts.noIssuerAllow = true
		case "issuer-broken", "store-stale":
		default:
			t.Fatalf("unknown word %q in a config section", word)
		}
	}
	c := newCloud(t, opts)
	if slices.Contains(words, "issuer-broken") {
		c.issuer.broken.Store(true)
	}
	if slices.Contains(words, "store-stale") {
		c.stale = errors.New("views are stale")
	}
	return c
}

// goldenExchange is one golden file.
type goldenExchange struct {
	*cloudtest.GoldenFile
	file      string
	config    string
	requestID string
	cloud     *cloud
	answer    cloudtest.Answer
}

func readGolden(t *testing.T, file string) *goldenExchange {
	t.Helper()
	x := &goldenExchange{file: file, GoldenFile: cloudtest.ReadGolden(t, file)}
	x.config = x.Section("config")
	return x
}

// run sends the request.
func (x *goldenExchange) run(t *testing.T, c *cloud, requestID string) {
	t.Helper()
	x.cloud, x.requestID = c, requestID
	head, body, _ := strings.Cut(x.Section("request"), "\n\n")
	line, fields, _ := strings.Cut(head, "\n")
	method, target, ok := strings.Cut(c.expand(t, line), " ")
	if !ok {
		t.Fatalf("%s: no request line", x.file)
	}
	form := url.Values{}
	for parameter := range strings.Lines(body) {
		name, value, _ := strings.Cut(strings.TrimSuffix(parameter, "\n"), "=")
		form.Add(name, c.expand(t, value))
	}
	encoded := form.Encode()
	if raw := x.Section("raw"); raw != "" {
		encoded = c.expand(t, strings.TrimSuffix(raw, "\n"))
	}
	r := httptest.NewRequestWithContext(
		azure.WithRequest(t.Context(), azure.Request{
			RequestID: requestID, CorrelationID: "c0000000-0000-4000-8000-000000000000", RemoteAddr: "192.0.2.1:4711",
		}), method, target, strings.NewReader(encoded))
	if encoded != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for field := range strings.Lines(fields) {
		name, value, _ := strings.Cut(strings.TrimSpace(c.expand(t, field)), ": ")
		if id, secret, ok := strings.Cut(strings.TrimPrefix(value, "Basic "), ":"); ok && name == "Authorization" {
			r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
			continue
		}
		r.Header.Set(name, value)
	}
	x.answer = c.send(r)
}

// outcomes are the sections that hold what came of the request.
var outcomes = []string{"response", "token", "audit"}

// compare compares, or writes, what came of the request.
func (x *goldenExchange) compare(t *testing.T, record json.RawMessage) {
	t.Helper()
	got := map[string]string{"response": x.response(t)}
	var issued struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(x.answer.Body), &issued); err == nil && issued.AccessToken != "" {
		got["token"] = x.token(t, issued.AccessToken)
	}
	if record != nil {
		got["audit"] = x.cloud.normalize(cloudtest.Indent(t, string(record)), x.requestID)
	}
	sections := x.Sections(outcomes...)
	for _, name := range outcomes {
		if got[name] != "" {
			sections = append(sections, txtar.File{Name: name, Data: []byte(got[name])})
		}
	}
	x.Check(t, sections)
}

// response prints the status, the header and the body.
func (x *goldenExchange) response(t *testing.T) string {
	t.Helper()
	headers := slices.DeleteFunc(slices.Sorted(maps.Keys(x.answer.Header)), func(name string) bool { return name == "Content-Length" })
	return x.cloud.normalize(fmt.Sprintln(x.answer.Status)+x.answer.Text(t, headers...), x.requestID)
}

// token verifies the token's signature as a resource would, and prints header
// and claims.
func (x *goldenExchange) token(t *testing.T, raw string) string {
	t.Helper()
	claims := claimsOf(t, raw)
	audience := claims["aud"].(string)
	verifier := token.NewApplicationVerifier(x.cloud.Keys, x.cloud.Azure, contoso, []string{audience}, x.cloud.Clock.Now)
	if _, err := verifier.Verify(raw); err != nil {
		t.Errorf("the token is refused: %v", err)
	}
	for _, name := range []string{"aio", "rh", "uti", "xms_act_fct", "xms_ftd", "xms_idrel", "xms_rd", "xms_sub_fct"} {
		if claims[name] == "" {
			t.Errorf("the token has an empty %s", name)
		}
		claims[name] = "..."
	}
	var b strings.Builder
	for _, part := range []any{decodePart(t, strings.Split(raw, ".")[0]), claims} {
		text, err := json.Marshal(part)
		cloudtest.Must(t, err)
		b.WriteString(cloudtest.Indent(t, string(text)))
	}
	return x.cloud.normalize(b.String(), x.requestID)
}

// placeholders are what stands in braces in golden files.
func (c *cloud) placeholders() map[string]string {
	values := map[string]string{
		"contoso": contoso, "fabrikam": fabrikam,
		"app": c.app.AppID, "app.objectId": c.appPrincipal.ObjectID,
		"appSecret": c.appSecret, "expiredSecret": c.expiredSecret, "appSecret.keyId": c.app.Secrets[1].KeyID,
		"signer": c.signer.AppID, "signer.objectId": c.signerPrincipal.ObjectID,
		"deploy": c.deploy.AppID, "deploy.objectId": c.deployPrincipal.ObjectID,
		"patterns": c.patterns.AppID, "patterns.objectId": c.patterns.ObjectID,
		"api": c.api.AppID, "disabled": c.disabled.AppID, "disabledSecret": c.disabledSecret,
		"disabled.objectId": c.disabledPrincipal.ObjectID, "foreign.objectId": c.foreignPrincipal.ObjectID,
		"foreignSecret.keyId": c.foreign.Secrets[0].KeyID,
		"mi":                  c.mi.AppID, "mi.objectId": c.mi.ObjectID, "bare": c.bare.AppID, "bare.objectId": c.bare.ObjectID,
		"foreign": c.foreign.AppID, "foreignSecret": c.foreignSecret,
		"issuer": c.issuer.URL, "issuer.address": c.issuer.Listener.Addr().String(), "kid": c.Keys.List()[0].ID,
	}
	for name, cert := range c.certificates {
		values[name+".sha1"] = strings.ToUpper(hex.EncodeToString(cert.sha1()))
		values[name+".sha256"] = strings.ToUpper(hex.EncodeToString(cert.sha256()))
		values[name+".kid"] = base64.URLEncoding.EncodeToString(cert.sha1())
		if cert.keyID != "" {
			values[name+".keyId"] = cert.keyID
		}
	}
	return values
}

// golden gives the names of golden files, which have other GUIDs as they are.
func (c *cloud) golden() *cloudtest.Names {
	names := &cloudtest.Names{Literal: func(string) bool { return true }}
	for name, value := range c.placeholders() {
		names.Set(name, value)
	}
	return names
}

var special = regexp.MustCompile(`\{(assertion|upper):([A-Za-z0-9.-]+)\}`)

// expand puts values in the place of names in braces: those of placeholders,
// "upper:" and a name for one in capitals, "assertion:" and the name of one.
func (c *cloud) expand(t *testing.T, text string) string {
	t.Helper()
	return special.ReplaceAllStringFunc(c.golden().Fill(text), func(match string) string {
		m := special.FindStringSubmatch(match)
		if m[1] == "upper" {
			return strings.ToUpper(c.placeholders()[m[2]])
		}
		return c.assertion(t, m[2])
	})
}

var (
	accessToken = regexp.MustCompile(`"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"`)
	randomID    = regexp.MustCompile(`"tokenId": "[A-Za-z0-9_-]{22}"`)
	lifetimes   = regexp.MustCompile(`"(expires_in|ext_expires_in|expires_on|exp)": ("?)(\d+)`)
	expires     = regexp.MustCompile(`"expires": "([^"]+)"`)
)

// normalize puts names in braces in the place of what differs from run to run.
// The lifetime of an application's token is random; that it is within its
// bounds is checked here.
func (c *cloud) normalize(text, requestID string) string {
	text = strings.ReplaceAll(text, requestID, "{traceId}")
	text = c.golden().Show(text)
	text = accessToken.ReplaceAllString(text, `"{token}"`)
	text = randomID.ReplaceAllString(text, `"tokenId": "..."`)
	now := c.Clock.Now().Unix()
	text = lifetimes.ReplaceAllStringFunc(text, func(match string) string {
		m := lifetimes.FindStringSubmatch(match)
		value, _ := strconv.ParseInt(m[3], 10, 64)
		if m[1] == "exp" || m[1] == "expires_on" {
			value -= now + 1
		}
		if value >= 3599 && value <= 5399 {
			return fmt.Sprintf(`"%s": %s{60 to 90 minutes}`, m[1], m[2])
		}
		return match
	})
	return expires.ReplaceAllStringFunc(text, func(match string) string {
		at, err := time.Parse(time.RFC3339, expires.FindStringSubmatch(match)[1])
		if left := at.Unix() - now; err == nil && left >= 3600 && left <= 5400 {
			return `"expires": "{60 to 90 minutes}"`
		}
		return match
	})
}
