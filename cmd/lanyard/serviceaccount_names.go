package main

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// accountNames are the names that follow from a service account and its issuer,
// as azwi derives them.
type accountNames struct{ namespace, account, issuer string }

// application is the name of the application that azwi makes for it.
func (n accountNames) application() string {
	return n.namespace + "-" + n.account + "-" + hashed(n.issuer)
}

// credential is the name of an application's federated credential.
func (n accountNames) credential() string {
	return hashed(n.namespace + "-" + n.account + "-" + n.issuer)
}

// identityCredential is the name of a managed identity's federated credential:
// the application's may hold characters, and begin with some, that the Resource
// Manager does not accept there.
func (n accountNames) identityCredential() string {
	return "sa-" + strings.TrimRight(n.credential(), "=")
}

// subject is the sub of its tokens.
func (n accountNames) subject() string {
	return "system:serviceaccount:" + n.namespace + ":" + n.account
}

// trust says in words which tokens a credential of these names takes.
func (n accountNames) trust() string { return "credential for " + n.subject() + " of " + n.issuer }

func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.URLEncoding.EncodeToString(sum[:])
}

// The forms of Kubernetes' names: a label for namespaces, a subdomain for
// service accounts.
var (
	namespaceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	accountName   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
)

// check refuses names that Kubernetes would refuse: what is derived from them
// must not mean another service account.
func (n accountNames) check() error {
	switch {
	case n.account == "":
		return errors.New("--service-account-name is required")
	case !namespaceName.MatchString(n.namespace):
		return fmt.Errorf("--service-account-namespace %q is no name of a namespace", n.namespace)
	case len(n.account) > 253 || !accountName.MatchString(n.account):
		return fmt.Errorf("--service-account-name %q is no name of a service account", n.account)
	}
	return nil
}
