"""How the gateway shows Microsoft Entra ID who it is, for tokens in place of keys."""

import re
from typing import Annotated

from pydantic import AfterValidator, model_validator

from gateway.settings.fields import Flag, HttpUrl, SecretReference, SecretText, Words, setting
from gateway.settings.findings import Fault, Flaw
from gateway.settings.section import Section

AUTHORITY = "https://login.microsoftonline.com"
IDENTITY_URL = "http://169.254.169.254/metadata/identity/oauth2/token"
SCOPE = "https://cognitiveservices.azure.com/.default"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,127}")
_WAYS = ("client_secret", "certificate", "token_file", "managed_identity")


def _id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise Fault("is not an id", "a GUID; of a tenant, its domain also does")
    return text


EntraId = Annotated[str, AfterValidator(_id)]


class Entra(Section):
    tenant: EntraId | None = setting(None, "Tenant, by id or domain. Not for a managed identity.")
    client_id: EntraId | None = setting(
        None, "Application (client) id. `managed_identity`: that of a user-assigned identity; none: the machine's own."
    )
    client_secret: SecretReference | None = setting(None, "The application's secret, by reference.")
    certificate: SecretText | None = setting(
        None, "Or its certificate with the private key, both in PEM, by `${file:...}`."
    )
    token_file: Words | None = setting(
        None,
        "Or workload identity: file that holds the federated token, read anew for each token; relative to this file. "
        "On AKS: `${AZURE_FEDERATED_TOKEN_FILE}`.",
    )
    managed_identity: Flag = setting(False, "Or the identity of the machine that this runs on.")
    scope: Words = setting(SCOPE, "What tokens are for.")
    authority: HttpUrl = setting(AUTHORITY, "Address of Entra ID, without the tenant; national clouds have their own.")
    identity_url: HttpUrl = setting(IDENTITY_URL, "`managed_identity`: where the machine's identity is asked.")

    @model_validator(mode="after")
    def _one_way(self) -> "Entra":
        flaws: list[Flaw] = []
        ways = [name for name in _WAYS if getattr(self, name)]
        if not ways:
            flaws.append(Flaw("shows nobody who this is", f"give one of {', '.join(_WAYS)}"))
        flaws += [Flaw(f"does not go with `{ways[0]}`", "give one of them", (name,)) for name in ways[1:]]
        if self.managed_identity and self.tenant is not None:
            flaws.append(Flaw("is not for a managed identity", "remove it", ("tenant",)))
        if ways and not self.managed_identity:
            flaws += [
                Flaw("is missing", "the portal shows it in the overview of the app registration", (name,))
                for name in ("tenant", "client_id")
                if getattr(self, name) is None
            ]
        if flaws:
            raise Fault.of(flaws)
        return self

    @property
    def url(self) -> str:
        """Where tokens are asked for."""
        return self.identity_url if self.managed_identity else f"{self.authority}/{self.tenant}/oauth2/v2.0/token"
