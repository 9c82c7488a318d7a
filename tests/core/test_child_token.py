"""Child-session tokens: what they open, for whom, for how long, and that nothing else does."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.child_token import (
    SIGNATURE_BYTES,
    ChildClaims,
    TokenExpired,
    TokenRefused,
    make_token,
    read_token,
    signing_key,
)
from gateway.core.session import CHILD_TOKEN_LENGTH_MAX, CHILD_TOKEN_PREFIX

KEY = signing_key(b"k" * 32)
CLAIMS = ChildClaims("ses_1m8aeadenz25xm0hrgh41vpxc", "key_alice", "-", 2_000_000)
NAMED = ChildClaims(CLAIMS.session_id, CLAIMS.key_id, "searcher", CLAIMS.expires_at_us)
TOKEN = make_token(KEY, CLAIMS)


def read(token: str, *, key: bytes = KEY, key_id: str = "key_alice", agent: str = "-", now_us: int = 0) -> ChildClaims:
    return read_token(key, token, key_id=key_id, agent=agent, now_us=now_us)


@pytest.mark.parametrize(
    "claims", [CLAIMS, NAMED, ChildClaims("s", "k", "Ägent \N{SNOWMAN}" + "\N{BEAR FACE}" * 100, 1)]
)
def test_rule_16_a_token_says_what_it_was_made_with(claims: ChildClaims) -> None:
    token = make_token(KEY, claims)
    assert read(token, key_id=claims.key_id) == claims
    assert token.startswith(CHILD_TOKEN_PREFIX)
    assert len(token) <= CHILD_TOKEN_LENGTH_MAX
    assert token.isascii()


@pytest.mark.parametrize(
    ("claims", "key_id", "agent", "opens"),
    [
        (CLAIMS, "key_alice", "-", True),
        (CLAIMS, "key_alice", "searcher", True),
        (CLAIMS, "key_bob", "-", False),
        (CLAIMS, "key_bob", "searcher", False),
        (NAMED, "key_bob", "searcher", True),
        (NAMED, "key_bob", "-", False),
        (NAMED, "key_bob", "Searcher", False),
        (NAMED, "key_alice", "reviewer", True),
    ],
)
def test_rule_16_it_opens_for_the_openers_key_and_for_the_agent_it_names(
    claims: ChildClaims, key_id: str, agent: str, opens: bool
) -> None:
    token = make_token(KEY, claims)
    if opens:
        assert read(token, key_id=key_id, agent=agent) == claims
    else:
        with pytest.raises(TokenRefused, match="another key or agent"):
            read(token, key_id=key_id, agent=agent)


@pytest.mark.parametrize(("now_us", "expired"), [(0, False), (1_999_999, False), (2_000_000, True), (1 << 60, True)])
def test_rule_16_it_ends_at_its_time(now_us: int, expired: bool) -> None:
    if expired:
        with pytest.raises(TokenExpired):
            read(TOKEN, now_us=now_us)
    else:
        assert read(TOKEN, now_us=now_us) == CLAIMS


def repacked(content: bytes) -> str:
    return CHILD_TOKEN_PREFIX + base64.urlsafe_b64encode(content).decode().rstrip("=")


CONTENT = base64.urlsafe_b64decode(TOKEN.removeprefix(CHILD_TOKEN_PREFIX) + "==")
TAMPERED = {
    "nothing": "",
    "prefix only": CHILD_TOKEN_PREFIX,
    "another prefix": TOKEN.replace("cptr_ss_", "cptr_sk_"),
    "upper case": TOKEN.upper(),
    "prefix in upper case": TOKEN.replace("cptr_ss_", "CPTR_SS_"),
    "cut": TOKEN[:-1],
    "cut by four": TOKEN[:-4],
    "longer": TOKEN + "A",
    "padded": TOKEN + "=",
    "a line end": TOKEN + "\n",
    "a space": TOKEN + " ",
    "not base64": TOKEN[:-1] + "!",
    "plus for minus": CHILD_TOKEN_PREFIX + "+" + TOKEN.removeprefix(CHILD_TOKEN_PREFIX)[1:],
    "no signature": repacked(CONTENT[SIGNATURE_BYTES:]),
    "empty signature and claims": repacked(b""),
    "signature of zeros": repacked(bytes(SIGNATURE_BYTES) + CONTENT[SIGNATURE_BYTES:]),
    "a later end": repacked(CONTENT.replace(b"2000000", b"9000000")),
    "another session": repacked(CONTENT.replace(b"ses_1m8a", b"ses_1m8b")),
    "another key": repacked(CONTENT.replace(b"key_alice", b"key_malle")),
    "for an agent": repacked(CONTENT.replace(b'"-"', b'"*"')),
    "twice": TOKEN + TOKEN.removeprefix(CHILD_TOKEN_PREFIX),
    "signed elsewhere": make_token(signing_key(b"x" * 32), CLAIMS),
    "signed with the install key itself": make_token(b"k" * 32, CLAIMS),
}


@pytest.mark.parametrize("token", TAMPERED.values(), ids=TAMPERED)
def test_rule_16_a_token_that_was_changed_opens_nothing(token: str) -> None:
    assert token != TOKEN
    with pytest.raises(TokenRefused):
        read(token)


@given(st.integers(0, len(TOKEN) - 1), st.characters(codec="ascii"))
def test_rule_16_one_changed_character_is_enough(place: int, character: str) -> None:
    changed = TOKEN[:place] + character + TOKEN[place + 1 :]
    if changed == TOKEN:
        assert read(changed) == CLAIMS
    else:
        with pytest.raises(TokenRefused):
            read(changed)


@given(st.binary(max_size=200))
def test_rule_16_no_made_up_content_passes(content: bytes) -> None:
    with pytest.raises(TokenRefused):
        read(repacked(content))
