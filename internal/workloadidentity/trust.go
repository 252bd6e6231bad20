package workloadidentity

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/lanyard-id/lanyard/internal/trust"
)

// Language is a way by which programs of a language, or of a library, come to
// trust an authority.
type Language string

// The languages. Go and OpenSSL read all of a list of directories, beside the
// file of the image they run in, so that the cloud's authority alone is added to
// what the image trusts; Node adds a file. The others replace what they trust,
// and so get the public authorities too.
const (
	LanguageGo      Language = "go"
	LanguageOpenSSL Language = "openssl" // .NET from 9 on, Ruby, Python's own ssl, curl
	LanguageDotnet  Language = "dotnet"  // .NET before 9, which takes the list of directories for one
	LanguageNode    Language = "node"
	LanguagePython  Language = "python" // requests, by which Azure's SDK and MSAL go
	LanguageJava    Language = "java"

	// trustNone is the value of TrustAnnotation and LANYARD_TRUST for none.
	trustNone = "none"
)

var allLanguages = []Language{LanguageGo, LanguageOpenSSL, LanguageDotnet, LanguageNode, LanguagePython, LanguageJava}

// DefaultTrust are all languages but LanguageDotnet, whose variable takes the
// image's file of authorities away from OpenSSL.
func DefaultTrust() []Language {
	return []Language{LanguageGo, LanguageOpenSSL, LanguageNode, LanguagePython, LanguageJava}
}

func (l Language) known() bool { return slices.Contains(allLanguages, l) }

func joinLanguages(list []Language) string {
	words := make([]string, len(list))
	for i, l := range list {
		words[i] = string(l)
	}
	return strings.Join(words, ", ")
}

// variable is the environment variable of a language. The directories are those
// that Go and OpenSSL read of themselves: Debian's and Alpine's, and Fedora's.
func (l Language) variable() (name, value string) {
	at := MountPath + "/" + trustDir + "/"
	switch l {
	case LanguageGo, LanguageOpenSSL:
		return "SSL_CERT_DIR", "/etc/ssl/certs:/etc/pki/tls/certs:" + MountPath + "/" + trustCertDir
	case LanguageDotnet:
		return "SSL_CERT_FILE", at + TrustKeyBundle
	case LanguageNode:
		return "NODE_EXTRA_CA_CERTS", at + TrustKeyCA
	case LanguagePython:
		return "REQUESTS_CA_BUNDLE", at + TrustKeyBundle
	default:
		return envJavaOptions, trust.JavaOptions(at + TrustKeyJava)
	}
}

// key is the datum of TrustConfigMap that a language needs.
func (l Language) key() string {
	switch l {
	case LanguageDotnet, LanguagePython:
		return TrustKeyBundle
	case LanguageJava:
		return TrustKeyJava
	default:
		return TrustKeyCA
	}
}

// TrustKeys are the data of TrustConfigMap that pods may need.
func (c *Cloud) TrustKeys() []string {
	var keys []string
	for _, l := range c.Trust {
		if !slices.Contains(keys, l.key()) {
			keys = append(keys, l.key())
		}
	}
	return keys
}

// trusted gives the languages in which the pod's containers trust the cloud.
func (d *decision) trusted() ([]Language, error) {
	if d.settings.Cloud == nil {
		return nil, nil
	}
	value, ok := d.pod.Metadata.Annotations[TrustAnnotation]
	switch {
	case !ok:
		return d.settings.Cloud.Trust, nil
	case value == trustNone:
		return nil, nil
	}
	var chosen []Language
	for _, word := range list(value) {
		l := Language(word)
		switch {
		case !l.known():
			return nil, deny("annotation %s: %q is none of %s; or it is %q alone", TrustAnnotation, word, joinLanguages(allLanguages), trustNone)
		case !slices.Contains(d.settings.Cloud.Trust, l):
			return nil, deny("annotation %s: the webhook brings no trust for %q; it is set up for: %s (LANYARD_TRUST)", TrustAnnotation, word, joinLanguages(d.settings.Cloud.Trust))
		}
		chosen = append(chosen, l)
	}
	if len(chosen) == 0 {
		return nil, deny("annotation %s is empty: it is %q, or some of %s", TrustAnnotation, trustNone, joinLanguages(d.settings.Cloud.Trust))
	}
	return chosen, nil
}

// trustSource is the volume source that brings the authority in the forms that
// languages need. The certificate directory has the authority under each name
// that OpenSSL may look for, and nothing else: whoever reads all of it, as Go
// does, comes to trust the cloud's authority alone.
func (d *decision) trustSource() jsontext.Value {
	b := append(make([]byte, 0, 512), `{"configMap":{"name":"`+TrustConfigMap+`","optional":false,"items":[`...)
	sep := ""
	item := func(key, path string) {
		b = append(b, sep+`{"key":"`+key+`","path":"`+path+`"}`...)
		sep = ","
	}
	if slices.Contains(d.languages, LanguageGo) || slices.Contains(d.languages, LanguageOpenSSL) {
		for i, hash := range d.settings.Cloud.SubjectHashes {
			if !slices.Contains(d.settings.Cloud.SubjectHashes[:i], hash) {
				item(TrustKeyCA, trustCertDir+"/"+hash+".0")
			}
		}
	}
	for _, key := range []string{TrustKeyCA, TrustKeyBundle, TrustKeyJava} {
		needs := func(l Language) bool { return l.key() == key && l != LanguageGo && l != LanguageOpenSSL }
		if slices.ContainsFunc(d.languages, needs) {
			item(key, trustDir+"/"+key)
		}
	}
	return append(b, `]}}`...)
}

// warnAboutJava: options are a variable that containers have for other reasons,
// which is not taken from them.
func (d *decision) warnAboutJava(c *Container) {
	has := func(e EnvVar) bool {
		return e.Name == envJavaOptions && !strings.Contains(e.Value, "javax.net.ssl.trustStore")
	}
	if slices.Contains(d.languages, LanguageJava) && slices.ContainsFunc(c.Env, has) {
		d.warnf("container %q has a %s of its own: Java in it does not trust the cloud; add %s to it", c.Name, envJavaOptions,
			"-Djavax.net.ssl.trustStore="+MountPath+"/"+trustDir+"/"+TrustKeyJava)
	}
}
