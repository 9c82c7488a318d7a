"""How the gateway shows Google Cloud who it is, for tokens in place of keys."""

import json

from pydantic import model_validator

from gateway.settings.fields import Flag, HttpUrl, SecretText, Words, setting
from gateway.settings.findings import Fault, Flaw
from gateway.settings.section import Section

TOKEN_URL = "https://oauth2.googleapis.com/token"
METADATA_URL = "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_NEEDED = ("client_email", "private_key")


class Google(Section):
    service_account: SecretText | None = setting(None, "Key of a service account: its JSON, by `${file:...}`.")
    metadata: Flag = setting(False, "Or the service account of the machine or pod that this runs on.")
    scope: Words = setting(SCOPE, "What tokens are for.")
    token_url: HttpUrl | None = setting(
        None, f"Where tokens are asked for; none: what the key says, else `{TOKEN_URL}`."
    )
    metadata_url: HttpUrl = setting(METADATA_URL, "`metadata`: where the machine's account is asked.")

    @model_validator(mode="after")
    def _one_way(self) -> "Google":
        if self.service_account is None and not self.metadata:
            raise Fault("shows nobody who this is", "give one of service_account, metadata")
        if self.service_account is not None and self.metadata:
            raise Fault.of([Flaw("does not go with `service_account`", "give one of them", ("metadata",))])
        if self.service_account is not None and self._key is None:
            hint = "put the file that the console gave for the key of a service account there, whole"
            raise Fault.of([Flaw("is not the key of a service account", hint, ("service_account",))])
        if not self.url.startswith(("https://", "http://")):
            hint = f"such as `{TOKEN_URL}`; give `token_url` where the key's own is wrong"
            raise Fault.of([Flaw("has a `token_uri` that is no address", hint, ("service_account",))])
        return self

    @property
    def _key(self) -> dict[str, str] | None:
        """None where it is none."""
        try:
            found = json.loads("" if self.service_account is None else self.service_account.reveal())
        except (ValueError, RecursionError):
            return None
        known = isinstance(found, dict) and all(isinstance(found.get(name), str) for name in _NEEDED)
        return {name: text for name, text in found.items() if isinstance(text, str)} if known else None

    @property
    def account(self) -> str:
        """The address of the service account; "" = the machine's own."""
        return (self._key or {}).get("client_email", "")

    @property
    def key_id(self) -> str:
        return (self._key or {}).get("private_key_id", "")

    @property
    def private_key(self) -> str:
        """In PEM."""
        return (self._key or {}).get("private_key", "")

    @property
    def url(self) -> str:
        """Where tokens are asked for."""
        if self.metadata:
            return self.metadata_url
        return self.token_url or (self._key or {}).get("token_uri") or TOKEN_URL
