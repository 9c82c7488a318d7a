"""Upper bounds of a prompt's tokens before it is sent: a ladder, and the first step that lets the call pass decides.

1. Bytes: every token of a byte-level BPE covers at least one byte and JSON escaping only lengthens text, so the bytes of
   the request are a bound for all inline text. What is not inline (images, audio, files) adds constants (rule 3).
2. The session's previous turn: its real input plus the growth in bytes, valid while model, tools and all earlier
   messages are identical (rule 2). Agents resend everything, so this is tight from the second turn on, and free.
3. Counting: o200k tokens times the family's factor. Dear, so only where the first two do not let the call pass.
Background and measurements: research notes on clients, section 7.
"""

import hashlib
from dataclasses import dataclass

TOKENS_PER_MESSAGE = 8
"""Room for role markers and separators of chat templates, per message, on top of counted text."""

FACTORS = (("claude", 1.6), ("anthropic", 1.6), ("gemini", 1.15), ("gpt", 1.0), ("o1", 1.0), ("o3", 1.0), ("o4", 1.0))
FACTOR_UNKNOWN = 1.3
REMEMBERED_TURNS = 4
_USUAL_OVER = 8


def token_factor(model: str) -> float:
    """How many of the model's tokens an o200k token is at most, by family (rule 2); operators can override it."""
    lowered = model.lower()
    return next((factor for word, factor in FACTORS if word in lowered), FACTOR_UNKNOWN)


@dataclass(frozen=True, slots=True)
class Weight:
    """A prompt's byte bound. `tokens_max` includes the constants of what is not inline."""

    tokens_max: int
    constants: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What must stay the same for the next turn's delta, and what this turn weighed and really cost."""

    head: bytes
    messages_length: int
    messages_digest: bytes
    message_count: int
    weight: int
    input_tokens: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt made ready for estimates. `head` digests model, tools and what else precedes the messages; `messages` is
    their canonical JSON without the closing bracket, so that an earlier conversation is a plain byte prefix of it."""

    head: bytes
    messages: bytes
    message_count: int
    weight: Weight


class TurnMemory:
    """The last turns of one session: several conversations (sub-agents, title requests) may take turns in it."""

    __slots__ = ("_outputs", "_turns")

    def __init__(self) -> None:
        self._turns: list[Turn] = []
        self._outputs: list[int] = []

    def previous(self, prompt: Prompt) -> Turn | None:
        """The longest remembered turn that `prompt` continues."""
        for turn in sorted(self._turns, key=lambda t: -t.messages_length):
            if turn.head == prompt.head and turn.messages_length <= len(prompt.messages):
                prefix = memoryview(prompt.messages)[: turn.messages_length]
                if digest(prefix) == turn.messages_digest:
                    return turn
        return None

    def remember(self, prompt: Prompt, input_tokens: int, output_tokens: int) -> None:
        """A turn ended with this real usage."""
        turn = Turn(
            prompt.head,
            len(prompt.messages),
            digest(prompt.messages),
            prompt.message_count,
            prompt.weight.tokens_max,
            input_tokens,
        )
        replaced = [t for t in self._turns if (t.head, t.messages_digest) != (turn.head, turn.messages_digest)]
        self._turns = [*replaced, turn][-REMEMBERED_TURNS:]
        self.saw_output(output_tokens)

    def saw_output(self, output_tokens: int) -> None:
        self._outputs = [*self._outputs, output_tokens][-_USUAL_OVER:]

    @property
    def usual_output_tokens(self) -> int:
        """What calls of this session usually produce: the mean of the last eight, rounded up; 0 = nothing known."""
        return -(-sum(self._outputs) // len(self._outputs)) if self._outputs else 0


def delta_bound(turn: Turn, prompt: Prompt) -> int:
    """Step 2 of the ladder."""
    return turn.input_tokens + max(0, prompt.weight.tokens_max - turn.weight)


def counted_bound(tokens: int, factor: float, messages: int, constants: int) -> int:
    """Step 3 of the ladder: counted text, scaled to the model's family, plus what is not inline."""
    scaled = -(-tokens * round(factor * 1000) // 1000)
    return scaled + TOKENS_PER_MESSAGE * (messages + 1) + constants


def digest(data: bytes | memoryview) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
