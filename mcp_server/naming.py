"""The names under which tools of other servers are offered: `server__tool`, at most 64 characters.

Rule: a name is looked up in the table that the list was made from, never taken apart: a shortened one cannot be.
"""

import hashlib

SEPARATOR = "__"
NAME_LENGTH_MAX = 64
"""What model providers accept as the name of a tool; the protocol itself allows 128."""
DIGEST_LENGTH = 8


def canonical_name(server: str, tool: str) -> str:
    """The name that policies and the ledger know. Server names hold no separator."""
    return f"{server}{SEPARATOR}{tool}"


def offered_name(canonical: str) -> str:
    """The same name for the same tool on every node and at every start."""
    if len(canonical) <= NAME_LENGTH_MAX:
        return canonical
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:DIGEST_LENGTH]
    return f"{canonical[: NAME_LENGTH_MAX - DIGEST_LENGTH - 1]}_{digest}"
