package entra

import (
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// fault is one error that the token service can answer with. Numbers, statuses,
// codes and texts are Entra's; clients react to the code, people to number and
// text.
type fault struct {
	// number is the AADSTS number.
	number int
	// status is the HTTP status.
	status int
	// code is the OAuth error code.
	code string
	// reason is what log and audit record say. It has no blanks: what a client
	// sends is repeated to the client alone, since people paste secrets into the
	// wrong parameter.
	reason string
	// text is the description, with blanks for names and for what the client
	// sent.
	text string
}

// The OAuth error codes in use.
const (
	invalidRequest       = "invalid_request"
	invalidTenant        = "invalid_tenant"
	invalidInstance      = "invalid_instance"
	invalidClient        = "invalid_client"
	invalidScope         = "invalid_scope"
	invalidResource      = "invalid_resource"
	unauthorizedClient   = "unauthorized_client"
	unsupportedGrantType = "unsupported_grant_type"
	unavailable          = "temporarily_unavailable"
	serverError          = "server_error"
)

// Errors of the request as such.
var (
	errMethod = fault{900561, http.StatusMethodNotAllowed, invalidRequest,
		"wrong method",
		"The endpoint only accepts %s requests. Received a %s request."}
	errMalformed = fault{9002313, http.StatusBadRequest, invalidRequest,
		"malformed request",
		"Invalid request. Request is malformed or invalid."}
	errDuplicate = fault{9000411, http.StatusBadRequest, invalidRequest,
		"a parameter comes twice",
		"The request is not properly formatted. The parameter '%s' is duplicated."}
	errMissing = fault{900144, http.StatusBadRequest, invalidRequest,
		"a parameter is missing",
		"The request body must contain the following parameter: '%s'."}
	errParameter = fault{90100, http.StatusBadRequest, invalidRequest,
		"a parameter is not valid",
		"%s parameter is empty or not valid."}
	errGrantType = fault{70003, http.StatusBadRequest, unsupportedGrantType,
		"unsupported grant type",
		"The app requested an unsupported grant type '%s'."}
)

// Errors of the tenant. The same numbers have another OAuth code in discovery.
var (
	errTenantNotFound = fault{90002, http.StatusBadRequest, invalidRequest,
		"no such tenant",
		"Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. " +
			"Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant."}
	errTenantName = fault{900023, http.StatusBadRequest, invalidRequest,
		"the tenant is neither a GUID nor a domain",
		"Specified tenant identifier '%s' is neither a valid DNS name, nor a valid external domain."}
	errTenantMissing = fault{90019, http.StatusBadRequest, invalidRequest,
		"no tenant is named",
		"No tenant-identifying information found in either the request or implied by any provided credentials."}
)

// Errors of what is asked for.
var (
	errScopeSuffix = fault{1002012, http.StatusBadRequest, invalidScope,
		"the scope is not a resource with /.default",
		"The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default " +
			"suffixed to the resource identifier (application ID URI)."}
	errScope = fault{70011, http.StatusBadRequest, invalidScope,
		"the scope is not valid",
		"The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' " +
			"is not valid. The scope %s is not valid."}
	errScopeResources = fault{700022, http.StatusBadRequest, invalidScope,
		"the scope names several resources",
		"The provided value for the input parameter scope is not valid because it contains more than one resource. " +
			"Scope %s is not valid."}
	errResourceParameter = fault{901002, http.StatusBadRequest, invalidRequest,
		"resource is not a parameter of this endpoint",
		"The 'resource' request parameter is not supported."}
	errResource = fault{500011, http.StatusBadRequest, invalidResource,
		"no such resource in the tenant",
		"The resource principal named %s was not found in the tenant named %s. This can happen if the application has not " +
			"been installed by the administrator of the tenant or consented to by any user in the tenant. " +
			"You might have sent your authentication request to the wrong tenant."}
)

// Errors of the client and its secret.
var (
	errClientNotFound = fault{700016, http.StatusBadRequest, unauthorizedClient,
		"no such client in the tenant",
		"Application with identifier '%s' was not found in the directory '%s'. This can happen if the application has not " +
			"been installed by the administrator of the tenant or consented to by any user in the tenant. " +
			"You may have sent your authentication request to the wrong tenant."}
	errClientNoPrincipal = fault{7000229, http.StatusUnauthorized, invalidClient,
		"the application has no service principal",
		"The client application %s is missing service principal in the tenant %s. " +
			"See instructions here: https://go.microsoft.com/fwlink/?linkid=2225119"}
	errClientDisabled = fault{7000112, http.StatusBadRequest, unauthorizedClient,
		"the client is disabled",
		"Application '%s'(%s) is disabled."}
	errCredentialMissing = fault{7000218, http.StatusUnauthorized, invalidClient,
		"not exactly one credential",
		"The request body must contain the following parameter: 'client_assertion' or 'client_secret'."}
	errSecret = fault{7000215, http.StatusUnauthorized, invalidClient,
		"wrong secret",
		"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, " +
			"not the client secret ID, for a secret added to app '%s'."}
	errSecretExpired = fault{7000222, http.StatusUnauthorized, invalidClient,
		"the secret is expired",
		"The provided client secret keys for app '%s' are expired. Visit the Azure portal to create new keys for your app: " +
			"https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds."}
)

// Errors of client assertions.
var (
	errAssertionMalformed = fault{50027, http.StatusBadRequest, invalidRequest,
		"the assertion cannot be read",
		"JWT token is invalid or malformed."}
	errAssertionType = fault{5002727, http.StatusBadRequest, invalidRequest,
		"the assertion has another typ than JWT",
		"Invalid JWT header type specified. Allowed types: 'JWT','http://openid.net/specs/jwt/1.0'."}
	errAssertionAlgorithm = fault{5002738, http.StatusUnauthorized, invalidClient,
		"the assertion is not signed with a supported algorithm",
		"Invalid JWT token. '%s' is not a supported signature algorithm. Supported signing algorithms are: '%s'."}
	errAssertionClaim = fault{90014, http.StatusBadRequest, invalidRequest,
		"the assertion lacks a claim",
		"The required field '%s' is missing from the credential. Ensure that you have all the necessary parameters for the login request."}
	errAssertionTime = fault{700024, http.StatusUnauthorized, invalidClient,
		"the assertion has expired or has not begun",
		"Client assertion is not within its valid time range. Current time: %s, assertion valid from %s, " +
			"expiry time of assertion %s. Review the documentation at " +
			"https://learn.microsoft.com/entra/identity-platform/certificate-credentials ."}
	errAssertionSignature = fault{700027, http.StatusUnauthorized, invalidClient,
		"the assertion is not signed by a key of its issuer",
		"%s [Reason - %s]"}
)

// badSignature is errAssertionSignature for a key of a foreign issuer, or of this
// cloud.
func badSignature(cause error, keyID string) *azure.Error {
	return errAssertionSignature.because(cause, "Client assertion failed signature validation.",
		"The signature is invalid., Thumbprint of key used by client: '"+keyID+"'")
}

// certificateHelp ends the descriptions of assertions that are not what a
// client's own must be.
const certificateHelp = " Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials ."

// Errors of assertions that the client itself signs, with the key of one of its
// certificates. A certificate that is unknown or expired, or another one's, is
// errAssertionSignature.
var (
	errCertificateClient = fault{700021, http.StatusUnauthorized, invalidClient,
		"the assertion is another client's",
		"Client assertion application identifier doesn't match 'client_id' parameter." + certificateHelp}
	errCertificateSubject = fault{50048, http.StatusUnauthorized, invalidClient,
		"the assertion's subject is not its issuer",
		"Subject must match the issuer claim in the client assertion."}
	errCertificateAudience = fault{700023, http.StatusUnauthorized, invalidClient,
		"the assertion is not for this token service and tenant",
		"Client assertion audience claim does not match Realm issuer." + certificateHelp}
	errCertificateUnnamed = fault{5002723, http.StatusUnauthorized, invalidClient,
		"the assertion does not name its certificate",
		"Invalid JWT token. No certificate SHA-1 thumbprint, certificate SHA-256 thumbprint, nor keyId specified in token header."}
	errCertificateAlgorithm = fault{5002730, http.StatusBadRequest, invalidRequest,
		"the certificate's key is of another kind than the assertion's algorithm",
		"Invalid JWT token. Unsupported key for the signing algorithm."}
)

// federationHelp ends the descriptions of assertions that match no credential.
const federationHelp = " Check your federated identity credential Subject, Audience and Issuer against the presented assertion." +
	" https://learn.microsoft.com/entra/workload-id/workload-identity-federation"

// Errors of federated identity credentials.
var (
	errFederatedNone = fault{70025, http.StatusUnauthorized, invalidClient,
		"the client has no federated credentials",
		"The client '%s'(%s) has no configured federated identity credentials."}
	errFederatedIssuer = fault{700211, http.StatusUnauthorized, invalidClient,
		"no federated credential has the assertion's issuer",
		"No matching federated identity record found for presented assertion issuer '%s'." + federationHelp}
	errFederatedSubject = fault{700213, http.StatusUnauthorized, invalidClient,
		"no federated credential has the assertion's subject",
		"No matching federated identity record found for presented assertion subject '%s'." + federationHelp}
	errFederatedSubjectCase = fault{7002138, http.StatusUnauthorized, invalidClient,
		"a federated credential has the assertion's subject in another case",
		"No matching federated identity record found for presented assertion subject '%s'. The subject matches with " +
			"case-insensitive comparison, but not with case-sensitive comparison." + federationHelp}
	errFederatedAudience = fault{700212, http.StatusUnauthorized, invalidClient,
		"no federated credential has the assertion's audience",
		"No matching federated identity record found for presented assertion audience '%s'." + federationHelp}
	errFederatedLifetime = fault{70023, http.StatusBadRequest, invalidRequest,
		"the assertion lives longer than 25 hours",
		"External OIDC Provider token must have a lifetime of less than or equal to 1.01:00:00. Token issued at %s. Token expires on %s."}
	errFederatedKey = fault{7000272, http.StatusUnauthorized, invalidClient,
		"the issuer does not publish the key that the assertion names",
		"The certificate with identifier '%s' used to sign the federated credential could not be found in the metadata of " +
			"identity provider '%s'. Please validate that your Identity Provider's metadata exposes the key used to sign the incoming token."}
	errFederatedUnreachable = fault{90061, http.StatusBadRequest, invalidRequest,
		"the issuer does not give its keys",
		"Request to External OIDC endpoint failed."}
	errFederatedOwnIssuer = fault{700222, http.StatusBadRequest, invalidRequest,
		"a token of this or another Entra is no assertion here",
		"AAD-issued tokens may not be used for federated identity flows."}
	errFederatedNotManaged = fault{700226, http.StatusUnauthorized, invalidClient,
		"the assertion is not of a managed identity",
		"Only MSI tokens may be used as Federated Identity Credentials for AAD issuer."}
	errFederatedExchange = fault{700214, http.StatusUnauthorized, invalidClient,
		"the assertion is not for the token exchange",
		"The audience of a federated identity credential for AAD issuer must be '" + federationAudience + "'."}
)

// Errors of flexible federated credentials, those with an expression.
var (
	errFlexibleMismatch = fault{7002131, http.StatusUnauthorized, invalidClient,
		"no federated credential has the assertion's subject or an expression for it",
		"No matching federated identity record found for presented assertion subject '%s' or no federated identity credential " +
			"expression matched. Please check your federated identity credential Subject, Expression, Audience and Issuer against the " +
			"presented assertion. https://learn.microsoft.com/entra/workload-id/workload-identity-federation"}
	errFlexibleDuplicate = fault{700263, http.StatusUnauthorized, invalidClient,
		"several expressions match the assertion",
		"More than one federated identity credential of the client matches the presented assertion."}
	errFlexibleExpression = fault{700233, http.StatusUnauthorized, invalidClient,
		"an expression cannot be parsed",
		"Federated Identity Credential expression parsing failed."}
	errFlexibleEvaluation = fault{700234, http.StatusUnauthorized, invalidClient,
		"an expression cannot be evaluated for the assertion",
		"Federated Identity Credential expression evaluation failed."}
	errFlexibleClient = fault{700235, http.StatusUnauthorized, invalidClient,
		"expressions are for applications only",
		"The federated identity credentials flow does not support credentials matching via expression at this time."}
	errFlexibleIssuer = fault{7002241, http.StatusUnauthorized, invalidClient,
		"no expressions for this issuer",
		"Issuer '%s' may not use credentials matching via expression."}
	errFlexibleClaims = fault{700237, http.StatusUnauthorized, invalidClient,
		"an expression that is not for this issuer",
		"Federated Identity Credential expression not allowed."}
)

// Errors of discovery.
var (
	errInstance = fault{50049, http.StatusBadRequest, invalidInstance,
		"not an authority of this service",
		"Unknown or invalid instance."}
	errInstanceRequest = fault{50050, http.StatusBadRequest, invalidRequest,
		"malformed discovery request",
		"The request is malformed."}
)

// Errors that are the service's own.
var (
	errUnavailable = fault{90033, http.StatusServiceUnavailable, unavailable,
		"the service cannot decide now",
		"A transient error has occurred. Please try again."}
	errInternal = fault{50000, http.StatusInternalServerError, serverError,
		"fault of the service",
		"There was an error issuing a token or an issue with our sign-in service."}
)

// new gives the error with the text's blanks filled in. What a client sent is
// cut short: a description repeats it, but no more than a person reads.
func (f fault) new(args ...any) *azure.Error { return f.because(nil, args...) }

// because gives the error with a cause, which only the log and the audit
// record get to see. It must not repeat what could be a secret.
func (f fault) because(cause error, args ...any) *azure.Error {
	for i, arg := range args {
		if s, ok := arg.(string); ok {
			args[i] = shorten(s)
		}
	}
	text := f.text
	if len(args) > 0 {
		text = fmt.Sprintf(f.text, args...)
	}
	return &azure.Error{
		Status: f.status, Code: f.code, Message: text, Numbers: []int{f.number},
		Err: &refusal{number: f.number, reason: f.reason, cause: cause},
	}
}

// refusal is what log and audit record say of an error.
type refusal struct {
	number int
	reason string
	cause  error
}

// Error gives number, reason and cause.
func (r *refusal) Error() string {
	text := fmt.Sprintf("AADSTS%d: %s", r.number, r.reason)
	if r.cause != nil {
		text += ": " + shorten(r.cause.Error())
	}
	return text
}

// Unwrap gives the cause.
func (r *refusal) Unwrap() error { return r.cause }

// withHint adds, unless the service is strict, a sentence of help to an error.
func (h *Handler) withHint(e *azure.Error, hint string) *azure.Error {
	if !h.strict {
		e.Message += " " + hint
	}
	return e
}

// shorten cuts s to a length that fits a sentence or an audit record.
func shorten(s string) string {
	const limit = 1024
	if len(s) <= limit {
		return s
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}
