"""Token usage as Gemini reports it (`usageMetadata`), in the inclusive convention of `gateway.core.usage`.

The prompt holds what was read from a cache; what tools of the provider fed back (`toolUsePromptTokenCount`) is input
beside it; candidates leave thoughts out, which are output. Protobuf leaves zeros out: a missing part is zero.
"""

from collections.abc import Mapping

from gateway.core.usage import Usage, fitted, report_count, report_object

_AUDIO = "AUDIO"


def from_gemini(report: object) -> Usage | None:
    """None: no report, or one that leaves the prompt out. What the total has more than its parts is output. Raises
    UsageInvalid."""
    if report is None:
        return None
    usage = report_object("usageMetadata", report)
    total_tokens = report_count(usage, "totalTokenCount")
    prompt = report_count(usage, "promptTokenCount")
    candidates = report_count(usage, "candidatesTokenCount")
    if prompt is None and total_tokens is None:
        return None
    fed_back = report_count(usage, "toolUsePromptTokenCount") or 0
    thoughts = report_count(usage, "thoughtsTokenCount") or 0
    output_tokens = (candidates or 0) + thoughts
    if prompt is None and total_tokens is not None:
        prompt = max(0, total_tokens - output_tokens - fed_back)
    input_tokens = (prompt or 0) + fed_back
    output_tokens = max(output_tokens, (total_tokens or 0) - input_tokens)
    cached = report_count(usage, "cachedContentTokenCount") or 0
    audio_input = _audio(usage, "promptTokensDetails") + _audio(usage, "toolUsePromptTokensDetails")
    # What was read from a cache has the price of that, so cached audio is not audio once more.
    cached_audio = _audio(usage, "cacheTokensDetails")
    audio_input = max(0, audio_input - cached_audio)
    audio_output = _audio(usage, "candidatesTokensDetails")
    return fitted(
        input_tokens, (cached, 0, audio_input), output_tokens, (thoughts, audio_output), cached_audio=cached_audio
    )


def _audio(usage: Mapping[str, object], name: str) -> int:
    details = usage.get(name)
    found = 0
    for detail in details if isinstance(details, list) else ():
        each = report_object(name, detail)
        if each.get("modality") == _AUDIO:
            found += report_count(each, "tokenCount") or 0
    return found
