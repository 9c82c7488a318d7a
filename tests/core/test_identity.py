"""Secrets that cannot be mistyped, names that cannot be read back, keys that only narrow."""

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.identity import (
    ABSENT,
    PREFIX,
    SECRET_PATTERN,
    Attributes,
    Directory,
    VirtualKey,
    make_secret,
    narrowed,
    pseudonym,
    secret_digest,
    well_formed,
)

INSTALL = b"i" * 32
OTHER_INSTALL = b"o" * 32
secrets = st.integers(0, 2**192 - 1).map(make_secret)


def test_a_hundred_thousand_random_secrets_are_well_formed_and_distinct() -> None:
    dice = random.Random(19)
    made = {make_secret(dice.getrandbits(192)) for _ in range(100_000)}
    assert len(made) == 100_000
    assert all(SECRET_PATTERN.fullmatch(secret) and well_formed(secret) for secret in made)


@given(secret=secrets, place=st.integers(0, 45), character=st.sampled_from(string.printable))
def test_every_change_of_one_character_is_refused(secret: str, place: int, character: str) -> None:
    changed = secret[:place] + character + secret[place + 1 :]
    assert well_formed(changed) is (changed == secret)


def test_every_single_substitution_of_one_secret_is_refused() -> None:
    secret = make_secret(0x5EC2E7 << 150)
    assert len(secret) == len(PREFIX) + 38
    for place, kept in enumerate(secret):
        for character in string.ascii_letters + string.digits + "_- ":
            if character != kept:
                assert not well_formed(secret[:place] + character + secret[place + 1 :])


@given(secret=secrets, place=st.integers(8, 44))
def test_swapped_neighbours_are_refused(secret: str, place: int) -> None:
    swapped = secret[:place] + secret[place + 1] + secret[place] + secret[place + 2 :]
    assert well_formed(swapped) is (swapped == secret)


@pytest.mark.parametrize(
    "text",
    ["", "cptr_sk_", "sk-" + "a" * 43, make_secret(1) + "a", make_secret(1)[:-1], make_secret(1) + "\n"],
)
def test_what_is_no_secret(text: str) -> None:
    assert not well_formed(text)


@given(text=st.text())
def test_any_text_can_be_asked_about(text: str) -> None:
    assert not well_formed(text)


def test_a_digest_needs_the_installation_and_the_whole_secret() -> None:
    secret = make_secret(7)
    digest = secret_digest(INSTALL, secret)
    assert digest == secret_digest(INSTALL, secret)
    assert len({digest, secret_digest(OTHER_INSTALL, secret), secret_digest(INSTALL, secret[:-1])}) == 3
    assert secret[8:20] not in digest


def test_rule_12_a_pseudonym_is_stable_and_does_not_hold_the_name() -> None:
    alice = pseudonym(INSTALL, "user", "alice")
    assert alice == pseudonym(INSTALL, "user", "alice")
    assert alice.startswith("user_")
    assert "alice" not in alice
    others = {
        pseudonym(INSTALL, "user", "bob"),
        pseudonym(INSTALL, "team", "alice"),
        pseudonym(OTHER_INSTALL, "user", "alice"),
    }
    assert alice not in others
    assert len(others) == 3
    assert pseudonym(INSTALL, "user", ABSENT) == ABSENT


@pytest.mark.parametrize(
    ("patterns", "name", "usable"),
    [
        (None, "gpt-5-mini", True),
        ((), "gpt-5-mini", False),
        (("gpt-5-mini",), "gpt-5-mini", True),
        (("gpt-5-mini",), "gpt-5", False),
        (("gpt-5",), "gpt-5-mini", False),
        (("gpt-*",), "gpt-5-mini", True),
        (("*",), "anything", True),
        (("github__*", "files__read"), "files__read", True),
        (("github__*", "files__read"), "files__write", False),
        (("g*i",), "gpt-5-mini", False),
        (("GPT-5",), "gpt-5", False),
    ],
)
def test_narrowing(patterns: tuple[str, ...] | None, name: str, *, usable: bool) -> None:
    assert narrowed(patterns, name) is usable


def test_subjects_are_typed_and_leave_out_what_is_absent() -> None:
    key = VirtualKey("key_1", "ci", "d", user="alice", agent="reviewer")
    assert key.subjects() == {"user:alice", "agent:reviewer", "key:ci"}
    assert VirtualKey("key_1", "ci", "d").subjects() == {"key:ci"}


def test_what_is_not_declared_has_no_attributes() -> None:
    directory = Directory({"user": {"alice": Attributes(groups=("engineering",))}})
    assert directory.get("user", "alice").groups == ("engineering",)
    assert directory.get("user", "bob") == directory.get("team", "alice") == Attributes()
