"""Station 1: a credential becomes a caller, or the call is refused. A secret of the wrong shape is not looked up."""

from collections.abc import Callable, Mapping

from gateway.core.call import Caller
from gateway.core.denial import Code, Denial, Refused
from gateway.core.identity import KeyState, well_formed
from gateway.pipeline.plane import Plane
from gateway.pipeline.standing import inactive

DigestOf = Callable[[str], str]
SIGNED = "AWS4-HMAC-SHA256"
"""The scheme of AWS signatures: boto3 sends no bearer token over plain HTTP."""
CREDENTIAL_HEADERS = ("x-api-key", "x-goog-api-key", "api-key")


def identify(plane: Plane, headers: Mapping[str, str], query: Mapping[str, str], digest_of: DigestOf) -> Caller:
    """Raises Refused (401). `digest_of` is the installation's keyed digest of a secret."""
    secret = _credential(headers, query)
    caller = plane.keys.caller(digest_of(secret)) if well_formed(secret) else None
    if caller is None:
        raise Refused(Denial(Code.KEY_UNKNOWN, "This key is not known here. Check that it was copied whole."))
    key = caller.key
    if key.state is not KeyState.ACTIVE or key.expires_at_us is not None:
        denial = inactive(key, plane.clock.now_us())
        if denial is not None:
            raise Refused(denial)
    return caller


def _signer(parameters: str) -> str:
    """The access key id of an AWS signature, which is where clients that sign carry their key; "" for none.

    The signature itself is not checked: the key is the whole credential, as it is in every other format.
    """
    for parameter in parameters.split(","):
        name, _, value = parameter.strip().partition("=")
        if name == "Credential":
            return value.partition("/")[0]
    return ""


def _credential(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    found = {header for header in map(headers.get, CREDENTIAL_HEADERS) if header}
    if authorization := headers.get("authorization"):
        scheme, _, token = authorization.partition(" ")
        if scheme == SIGNED:
            token = _signer(token)
        elif scheme.lower() != "bearer":
            token = ""
        if not token:
            raise Refused(Denial(Code.KEY_MISSING, "The Authorization header must read `Bearer <key>`."))
        found.add(token.strip())
    if in_query := query.get("key"):
        found.add(in_query)
    if not found:
        text = "No key was sent. Send your Comptroller key as `Authorization: Bearer <key>`."
        raise Refused(Denial(Code.KEY_MISSING, text))
    if len(found) > 1:
        raise Refused(Denial(Code.KEY_UNKNOWN, "Two different credentials were sent. Send one."))
    return found.pop()
