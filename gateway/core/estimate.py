"""Upper bounds of a prompt's tokens before it is sent: a ladder, and the first step that lets the call pass decides.

1. Bytes: every token of a byte-level BPE covers at least one byte and JSON escaping only lengthens text, so the bytes
   of the request are a bound for all inline text. What is not inline (images, audio, files) adds constants (rule 3).
2. The session's previous turn: its real input plus the growth of the messages in bytes, valid while all else and all
   earlier messages are identical (rule 2). Agents resend everything, so from the second turn on this is tight and free.
3. Counting: o200k tokens times the family's factor. Dear, so only where the first two do not let the call pass.
Background and measurements: research notes on clients, section 7.
"""

import hashlib
import re
from operator import attrgetter
from typing import NamedTuple

TOKENS_PER_MESSAGE = 8
"""Room for role markers and separators of chat templates, per message, on top of counted text."""

FACTORS = (
    (re.compile(r"claude|anthropic"), 1.6),
    (re.compile(r"gemini"), 1.15),
    (re.compile(r"(^|[^a-z0-9])(chatgpt-|gpt-[3-9]|gpt-oss|o[134]($|-))"), 1.0),
)
FACTOR_UNKNOWN = 1.3
REMEMBERED_TURNS = 4
_MESSAGES_LENGTH = attrgetter("messages_length")
_USUAL_OVER = 8


def token_factor(model: str) -> float:
    """How many of the model's tokens an o200k token is at most, by family (rule 2); operators can override it."""
    lowered = model.lower()
    return next((factor for family, factor in FACTORS if family.search(lowered)), FACTOR_UNKNOWN)


class Weight(NamedTuple):
    """A prompt's byte bounds, as whole and of its messages alone in canonical JSON, which the client's way of writing
    cannot stretch. Both include the constants of what is not inline."""

    tokens_max: int
    messages_max: int
    constants: int


class Turn(NamedTuple):
    """What must stay the same for the next turn's delta, and what this turn weighed and really cost."""

    head: bytes
    messages_length: int
    messages_digest: bytes
    message_count: int
    messages_max: int
    input_tokens: int


class Prompt(NamedTuple):
    """A prompt made ready for estimates. `head` digests all that may add to the prompt beside the messages; `messages`
    is their canonical JSON without the closing bracket, so that an earlier conversation is a byte prefix of it;
    `digest` is that of `messages`."""

    head: bytes
    messages: bytes
    digest: bytes
    message_count: int
    weight: Weight


class TurnMemory:
    """The last turns of one session: several conversations (sub-agents, title requests) may take turns in it."""

    __slots__ = ("_outputs", "_turns")

    def __init__(self) -> None:
        self._turns: list[Turn] = []
        self._outputs: list[int] = []

    def previous(self, prompt: Prompt) -> Turn | None:
        """The longest remembered turn that `prompt` continues. Reads the messages once, however many turns."""
        length = len(prompt.messages)
        fitting = [turn for turn in self._turns if turn.messages_length <= length and turn.head == prompt.head]
        if not fitting:
            return None
        if len(fitting) > 1:
            fitting.sort(key=_MESSAGES_LENGTH)
        messages, hashed, at = memoryview(prompt.messages), _hash(), 0
        longest = None
        for turn in fitting:
            hashed.update(messages[at : turn.messages_length])
            at = turn.messages_length
            if hashed.digest() == turn.messages_digest:
                longest = turn
        return longest

    def remember(self, prompt: Prompt, input_tokens: int, output_tokens: int) -> None:
        """A turn ended with this real usage."""
        turn = Turn(
            prompt.head,
            len(prompt.messages),
            prompt.digest,
            prompt.message_count,
            prompt.weight.messages_max,
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
    return turn.input_tokens + prompt.weight.messages_max - turn.messages_max


def counted_bound(tokens: int, factor: float, messages: int, constants: int) -> int:
    """Step 3 of the ladder: counted text, scaled to the model's family, plus what is not inline."""
    scaled = -(-tokens * round(factor * 1000) // 1000)
    return scaled + TOKENS_PER_MESSAGE * (messages + 1) + constants


def digest(data: bytes | memoryview) -> bytes:
    return _hash(data).digest()


def _hash(data: bytes | memoryview = b"") -> "hashlib.blake2b":
    return hashlib.blake2b(data, digest_size=16)
