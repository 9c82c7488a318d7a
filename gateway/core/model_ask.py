"""A model call as the reserve and forward stations see it, whatever its wire format."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.core.call import Kind
from gateway.core.catalog import Deployment, Model
from gateway.core.estimate import Prompt, Turn
from gateway.core.media import NO_MEDIA, Media
from gateway.core.wire.format import WireFormat
from gateway.core.wire.neutral import NeutralRequest

FREE = "free"
CACHED = "cache"


class ModelAsk(NamedTuple):
    """`texts` gives what a tokenizer would count; `outgoing` makes the body for a deployment and a cap per choice,
    in the format that `spoken` gives (None = it cannot be asked this); `translated` gives the request in
    the neutral form (None = it has none).

    `tools` maps canonical names to the client's words; `continues` is the session's turn that this one goes on from;
    `service_tiers` are those the call may be billed by (None = any); `sliceable` = the meter sees every billed token;
    `path` may hold MODEL for the deployment's name; `headers` are the client's that go along; `thinking_tokens` = what
    a cap must leave room for; `media` the most that it uses of other units; `free` = why
    no provider bills it.
    """

    kind: Kind
    model: Model
    format: WireFormat
    path: str
    headers: tuple[tuple[str, str], ...]
    prompt: Prompt
    texts: Callable[[], Sequence[str]]
    outgoing: Callable[[Deployment, int | None], Mapping[str, Any] | bytes]
    spoken: Callable[[Deployment], WireFormat | None]
    translated: Callable[[], NeutralRequest | None]
    stream: bool
    include_usage: bool
    choices: int
    client_max_tokens: int | None
    produces_output: bool
    sliceable: bool
    thinking_tokens: int
    tools: Mapping[str, Sequence[str]]
    continues: Turn | None
    service_tiers: frozenset[str] | None
    uncounted: tuple[str, ...]
    request_digest: bytes
    media: Media = NO_MEDIA
    free: str = ""
