"""Why a path of the OpenAI API is not served: each by its name, so that nobody has to guess. None is ever forwarded.

What the provider would keep (files, stored responses, conversations) is not this caller's alone under the one
credential that all share; what has no honest price before it runs (videos, realtime audio, batches) cannot be held for.
"""

import re
from typing import Final

_PREFIX = re.compile(r"/openai/deployments/[^/]+(?=/)|/openai/v1(?=/)|/openai(?=/)|/v1(?=/)")
_KEPT = "what the provider keeps under this gateway's credential would be open to all of its users"
_PRICED = "its price cannot be told from a request, so no budget could hold for it"
_REASONS: Final = (
    ("/responses/compact", "Conversations are not compacted here; an agent that is told so asks a model to do it."),
    ("/responses", "Responses are not kept here: {kept}. Send the whole conversation in `input`."),
    ("/conversations", "Conversations are not kept here: {kept}. Send the whole conversation in `input`."),
    ("/images", "This is not served here; of images, generations, edits and variations are, by POST below `/v1`."),
    ("/videos", "Videos are not served here: {priced}."),
    (
        "/audio",
        "This is not served here; of audio, speech, transcriptions and translations are, by POST below `/v1`.",
    ),
    ("/realtime", "Realtime sessions are not served here: {priced}."),
    ("/files", "Files are not served here: {kept}. Send their content with the request."),
    ("/uploads", "Uploads are not served here: {kept}. Send their content with the request."),
    ("/batches", "Batches are not served here: {priced}. Send its requests one by one."),
    ("/fine_tuning", "Fine-tuning is not served here: {priced}."),
    ("/vector_stores", "Vector stores are not served here: {kept}."),
    ("/containers", "Containers are not served here: {priced}."),
    ("/assistants", "Assistants are not served here: {kept}. Use responses or chat completions."),
    ("/threads", "Threads are not served here: {kept}. Use responses or chat completions."),
    ("/evals", "Evaluations are not served here: {priced}."),
    ("/chat/completions", "Stored chat completions are not served here: {kept}."),
    ("/organization", "The provider's own administration is not served here."),
)


def below_prefix(path: str) -> str:
    """The path without what the OpenAI or the Azure address puts before it."""
    found = _PREFIX.match(path)
    return path if found is None else path[found.end() :]


def why_not_served(path: str) -> str | None:
    """A sentence for people, None for a path that this API has not."""
    tail = below_prefix(path)
    for name, reason in _REASONS:
        if tail == name or tail.startswith(f"{name}/"):
            return reason.format(kept=_KEPT, priced=_PRICED)
    return None
