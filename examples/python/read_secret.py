"""Reads one secret from a vault, with Azure's SDK for Python alone.

    python3 read_secret.py VAULT-URL SECRET-NAME [CREDENTIAL]

CREDENTIAL is default (the default), workload, managed or secret: the class of
azure.identity by which the program signs in. All of them read their settings
from the environment.
"""

import os
import sys

from azure.core.exceptions import AzureError
from azure.identity import (
    ClientSecretCredential,
    DefaultAzureCredential,
    ManagedIdentityCredential,
)
from azure.keyvault.secrets import SecretClient

ENV = os.environ

CREDENTIALS = {
    "default": DefaultAzureCredential,
    # With AZURE_FEDERATED_TOKEN_FILE this class exchanges the service account's
    # token; releases from 1.13.0 on have WorkloadIdentityCredential for it too.
    "workload": ManagedIdentityCredential,
    "managed": lambda: ManagedIdentityCredential(client_id=ENV.get("AZURE_CLIENT_ID")),
    "secret": lambda: ClientSecretCredential(
        ENV["AZURE_TENANT_ID"], ENV["AZURE_CLIENT_ID"], ENV["AZURE_CLIENT_SECRET"]
    ),
}


def main() -> int:
    if len(sys.argv) not in (3, 4) or (len(sys.argv) == 4 and sys.argv[3] not in CREDENTIALS):
        print(__doc__, file=sys.stderr)
        return 2
    kind = sys.argv[3] if len(sys.argv) == 4 else "default"
    try:
        client = SecretClient(sys.argv[1], CREDENTIALS[kind]())
        print(client.get_secret(sys.argv[2]).value)
    except AzureError as error:
        print(f"{type(error).__name__}: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
