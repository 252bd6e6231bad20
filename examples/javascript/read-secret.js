// Reads one secret from a vault, with Azure's SDK for JavaScript alone.
//
//   node read-secret.js VAULT-URL SECRET-NAME [CREDENTIAL]
//
// CREDENTIAL is default (the default), workload, managed or secret: the class of
// @azure/identity by which the program signs in. All of them read their settings
// from the environment.
import {
  ClientSecretCredential,
  DefaultAzureCredential,
  ManagedIdentityCredential,
  WorkloadIdentityCredential,
} from "@azure/identity";
import { SecretClient } from "@azure/keyvault-secrets";

const { AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET } = process.env;

const credentials = {
  default: () => new DefaultAzureCredential(),
  workload: () => new WorkloadIdentityCredential(),
  managed: () => (AZURE_CLIENT_ID ? new ManagedIdentityCredential({ clientId: AZURE_CLIENT_ID }) : new ManagedIdentityCredential()),
  secret: () => new ClientSecretCredential(AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET),
};

const [vaultUrl, name, kind = "default"] = process.argv.slice(2);
if (!vaultUrl || !name || !(kind in credentials)) {
  console.error("usage: node read-secret.js VAULT-URL SECRET-NAME [default|workload|managed|secret]");
  process.exit(2);
}
try {
  const secret = await new SecretClient(vaultUrl, credentials[kind]()).getSecret(name);
  console.log(secret.value);
} catch (error) {
  console.error(`${error.name}: ${error.statusCode ?? ""} ${error.message}`);
  process.exit(1);
}
