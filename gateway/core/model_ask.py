"""A model call as the reserve and forward stations see it, whatever its wire format."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.core.call import Kind
from gateway.core.catalog import Deployment, Model
from gateway.core.estimate import Prompt, Turn


class ModelAsk(NamedTuple):
    """`texts` gives what a tokenizer would count; `outgoing` makes the body for a deployment and a cap per choice.

    `tools` maps canonical names to the client's words; `continues` is the session's turn that this one goes on from;
    `service_tiers` are those the call may be billed by (None = any); `sliceable` = the meter sees every billed token.
    """

    kind: Kind
    model: Model
    path: str
    prompt: Prompt
    texts: Callable[[], Sequence[str]]
    outgoing: Callable[[Deployment, int | None], Mapping[str, Any]]
    stream: bool
    include_usage: bool
    choices: int
    client_max_tokens: int | None
    produces_output: bool
    sliceable: bool
    tools: Mapping[str, Sequence[str]]
    continues: Turn | None
    service_tiers: frozenset[str] | None
    uncounted: tuple[str, ...]
    request_digest: bytes
