"""Keys made, changed and withdrawn at run time: in force at the next call, and only if the books have it."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.identity import KeyLimit, KeyState, VirtualKey, well_formed
from gateway.core.report import AuditSearch
from gateway.management.key_limits import AMOUNT_MAX, key_limit, key_limits, limit_text
from gateway.management.keys import NewKey, key_object
from gateway.management.refused import ManagementRefused, Unknown
from gateway.ports import BooksUnavailable
from tests.management.opening import ALICE, Opened, opening


async def test_a_new_key_works_at_once_and_its_secret_is_kept_nowhere(node: Opened, tmp_path) -> None:
    key, secret = await node.desk.create(NewKey("carl", user="carl"), "admin")
    assert well_formed(secret)
    assert (await node.chat(secret)).status_code == 200
    assert secret not in str(key_object(key))
    assert key.digest not in str(key_object(key))
    for file in (tmp_path / "var").iterdir():
        assert secret.encode() not in file.read_bytes(), file.name


async def test_changes_take_effect_at_the_next_call(node: Opened) -> None:
    _, secret = await node.desk.create(NewKey("carl"), "admin")
    seen = []
    for state in (KeyState.DISABLED, KeyState.ACTIVE, KeyState.REVOKED):
        await node.desk.set_state("carl", state, "admin")
        reply = await node.chat(secret)
        seen.append(reply.json()["error"]["code"] if reply.status_code != 200 else "ok")
    assert seen == ["key_disabled", "ok", "key_revoked"]


async def test_rotating_gives_a_new_secret_to_the_same_key(node: Opened) -> None:
    key, old = await node.desk.create(NewKey("carl"), "admin")
    rotated, new = await node.desk.rotate("carl", "admin")
    assert rotated.id == key.id
    assert (await node.chat(old)).json()["error"]["code"] == "key_unknown"
    assert (await node.chat(new)).status_code == 200


async def test_revoking_is_final(node: Opened) -> None:
    key, _ = await node.desk.create(NewKey("carl"), "admin")
    await node.desk.set_state("carl", KeyState.REVOKED, "admin")
    for change in (
        node.desk.set_state(key.id, KeyState.ACTIVE, "admin"),
        node.desk.set_state("carl", KeyState.DISABLED, "admin"),
        node.desk.rotate(key.id, "admin"),
    ):
        with pytest.raises(ManagementRefused, match="final"):
            await change
    assert (await node.desk.set_state("carl", KeyState.REVOKED, "admin")).state is KeyState.REVOKED


@pytest.mark.parametrize("order", [(KeyState.REVOKED, KeyState.ACTIVE), (KeyState.ACTIVE, KeyState.REVOKED)])
async def test_no_change_beside_a_revocation_brings_the_key_back(node: Opened, order: tuple[KeyState, ...]) -> None:
    key, _ = await node.desk.create(NewKey("carl"), "admin")
    changes = [node.desk.set_state(key.id, state, "admin") for state in order]
    await asyncio.gather(*changes, return_exceptions=True)
    found = node.plane.keys.get(key.id)
    assert found is not None
    assert found.state is KeyState.REVOKED


async def test_of_two_keys_of_one_name_made_at_once_one_is_refused(node: Opened) -> None:
    made = await asyncio.gather(*(node.desk.create(NewKey("carl"), "admin") for _ in range(2)), return_exceptions=True)
    assert sorted(isinstance(each, ManagementRefused) for each in made) == [False, True]


async def test_what_the_books_do_not_have_is_not_in_force(node: Opened) -> None:
    key, secret = await node.desk.create(NewKey("carl"), "admin")
    await node.application.node.books.close()
    with pytest.raises(BooksUnavailable):
        await node.desk.set_state("carl", KeyState.REVOKED, "admin")
    with pytest.raises(BooksUnavailable):
        await node.desk.create(NewKey("dora"), "admin")
    assert node.plane.keys.get(key.id) == key
    assert node.plane.keys.named("dora") is None
    assert node.plane.keys.caller(node.desk.digest_of(secret)) is not None


async def test_keys_outlive_a_restart_in_the_state_that_people_gave_them(tmp_path) -> None:
    async with opening(tmp_path) as node:
        _, secret = await node.desk.create(NewKey("carl", limits=("usd=5/day",), models=("small",)), "admin")
        await node.desk.set_state("alice", KeyState.DISABLED, "admin")
        before = key_object(node.desk.find("carl"))
    async with opening(tmp_path) as node:
        assert key_object(node.desk.find("carl")) == before
        assert (await node.chat(secret)).status_code == 200
        assert (await node.chat(ALICE)).json()["error"]["code"] == "key_disabled"


async def test_a_key_narrows_and_its_own_limits_bind(node: Opened) -> None:
    asked = NewKey("carl", team="platform", models=("sm*",), limits=("requests=1/day",))
    _, secret = await node.desk.create(asked, "admin")
    assert (await node.chat(secret, model="large")).json()["error"]["code"] == "model_denied"
    assert (await node.chat(secret)).status_code == 200
    refused = (await node.chat(secret)).json()["error"]
    assert refused["code"] == "budget_exhausted"
    assert refused["comptroller"]["limit"]["name"] == "key-carl-requests-day"


async def test_a_declared_key_is_changed_in_the_file(node: Opened) -> None:
    with pytest.raises(ManagementRefused, match="declared in the file"):
        await node.desk.rotate("alice", "admin")


async def test_every_change_names_its_actor_in_the_journal(node: Opened) -> None:
    await node.desk.create(NewKey("carl"), "admin:eve")
    await node.desk.set_state("carl", KeyState.DISABLED, "admin:eve")
    rows = await node.reports.audit(AuditSearch(kind="key", text="carl"))
    assert {(row.doc["action"], row.doc["actor"]) for row in rows} == {
        ("created", "admin:eve"),
        ("disabled", "admin:eve"),
    }


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (NewKey(None, user="eve", app="ci", agent="bot"), "eve-ci-bot"),
        (NewKey(None, team="support"), "support"),
        (NewKey(None), "key"),
        (NewKey(None, user="alice"), "alice-2"),
    ],
)
async def test_a_key_without_a_name_is_called_after_whom_it_is_for(node: Opened, asked: NewKey, name: str) -> None:
    key, _ = await node.desk.create(asked, "admin")
    assert key.name == name


async def test_the_name_of_a_revoked_key_is_not_given_again_by_itself(node: Opened) -> None:
    await node.desk.create(NewKey(None, user="eve"), "admin")
    await node.desk.set_state("eve", KeyState.REVOKED, "admin")
    key, _ = await node.desk.create(NewKey(None, user="eve"), "admin")
    assert key.name == "eve-2"


@pytest.mark.parametrize(
    "asked",
    [
        NewKey("two words"),
        NewKey("a,b"),
        NewKey("a/b"),
        NewKey("x" * 129),
        NewKey("line\nfeed"),
        NewKey("ok", user="a b"),
        NewKey("ok", models=("sm*ll",)),
        NewKey("ok", tools=("",)),
        NewKey("ok", limits=("usd=5",)),
        NewKey("ok", expires_at_us=1),
        NewKey("alice"),
    ],
)
async def test_what_cannot_be_a_key_is_refused(node: Opened, asked: NewKey) -> None:
    before = node.plane.keys.all()
    with pytest.raises(ManagementRefused):
        await node.desk.create(asked, "admin")
    assert node.plane.keys.all() == before


async def test_an_unknown_key_is_said_to_be_unknown(node: Opened) -> None:
    with pytest.raises(Unknown):
        await node.desk.set_state("nobody", KeyState.DISABLED, "admin")


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("usd=5/day", KeyLimit("usd", 5_000_000, "day")),
        ("usd=0.000001/month", KeyLimit("usd", 1, "month")),
        ("tokens=200_000/5h", KeyLimit("tokens", 200_000, "5h")),
        ("requests=60/minute", KeyLimit("requests", 60, "minute")),
        ("tool_calls=0/session", KeyLimit("tool_calls", 0, "session")),
        ("concurrent=4", KeyLimit("concurrent", 4, "total")),
    ],
)
def test_limits_of_a_key_read_as_written(text: str, limit: KeyLimit) -> None:
    assert key_limit(text) == limit


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "usd",
            "usd=5",
            "usd=/day",
            "usd=-1/day",
            "usd=nan/day",
            "usd=1e-7/day",
            "dollars=5/day",
            "usd=5/fortnight",
        ),
        *("tokens=1.5/day", "tokens=-1/day", "tokens=٣/day", f"tokens={AMOUNT_MAX + 1}/day", "tokens=1__/"),
        *("requests=0/minute", "concurrent=0", "concurrent=4/day", "sessions=1/session", "sessions=0/hour"),
    ],
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ManagementRefused):
        key_limit(text)


def test_one_limit_a_unit_and_window() -> None:
    assert len(key_limits(["usd=5/day", "usd=50/month"])) == 2
    with pytest.raises(ManagementRefused, match="two limits"):
        key_limits(["usd=5/day", "usd=6/day"])


@given(
    st.sampled_from(["usd", "tokens", "requests", "tool_calls", "sessions", "concurrent"]),
    st.integers(1, AMOUNT_MAX),
    st.sampled_from(["minute", "hour", "day", "week", "month", "total", "90m", "5h", "7d"]),
)
def test_a_limit_is_shown_as_it_can_be_written(unit: str, amount: int, window: str) -> None:
    limit = KeyLimit(unit, amount, "total" if unit == "concurrent" else window)
    assert key_limit(limit_text(limit)) == limit


async def test_a_key_is_shown_without_its_digest(node: Opened) -> None:
    for key in node.plane.keys.all():
        shown = key_object(key)
        assert key.digest not in str(shown)
        assert set(shown) <= set(VirtualKey.__dataclass_fields__) | {"expires_at", "created_at"}
