"""What is left of rates, in the headers that clients of each format look for."""

from gateway.core.denial import time_shown


def openai_rates(word: str, limit: int, remaining: int, resets_at_us: int | None, now_us: int) -> dict[str, str]:
    """`word` is requests or tokens. The reset as a duration."""
    found = {f"x-ratelimit-limit-{word}": str(limit), f"x-ratelimit-remaining-{word}": str(remaining)}
    if resets_at_us is not None:
        found[f"x-ratelimit-reset-{word}"] = f"{max(0, resets_at_us - now_us) // 1_000_000}s"
    return found


def anthropic_rates(word: str, limit: int, remaining: int, resets_at_us: int | None, now_us: int) -> dict[str, str]:
    """The reset as an instant."""
    prefix = f"anthropic-ratelimit-{word}"
    found = {f"{prefix}-limit": str(limit), f"{prefix}-remaining": str(remaining)}
    if (shown := time_shown(resets_at_us)) is not None:
        found[f"{prefix}-reset"] = shown
    return found
