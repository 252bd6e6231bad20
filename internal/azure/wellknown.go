package azure

// Identifiers of built-in role definitions that code (rather than an operator)
// names. All of them are in the embedded list of built-in roles.
const (
	RoleOwner                   = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
	RoleContributor             = "b24988ac-6180-42a0-ab88-20f7382dd24c"
	RoleReader                  = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
	RoleUserAccessAdministrator = "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9"
	RoleManagedIdentityOperator = "f1a07417-d97a-45cb-824c-7a7467783830"
	RoleKeyVaultSecretsUser     = "4633458b-17de-408a-b874-0445c86b69e6" //nolint:gosec // a public identifier
	RoleKeyVaultSecretsOfficer  = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7" //nolint:gosec // a public identifier
	RoleKeyVaultAdministrator   = "00482a5a-887f-4fb3-b363-3b7fe8e74483"
	RoleKeyVaultReader          = "21090545-7ca7-4776-b22c-e363652d74d2"
)
