"""How a call names its session, and when that one goes on, comes back, starts afresh or has expired."""

import json
from dataclasses import replace

import pytest

from gateway.core.session import (
    CHILD,
    CHILD_TOKEN_LENGTH_MAX,
    CLIENT_ID_LIFE_US,
    ID_LENGTH_MAX,
    IMPLICIT,
    TRANSITIONS,
    Continuation,
    MarkRefused,
    Session,
    SessionMark,
    SessionRules,
    SessionState,
    continue_session,
    mark_of,
)

NOW_US = 1_795_521_600_000_000
SECOND_US = 1_000_000
RULES = SessionRules(idle_timeout_s=1_800, wall_time_s=28_800)
IDLE_US, WALL_US = 1_800 * SECOND_US, 28_800 * SECOND_US
UUID = "3f2b9a1e-6d1c-4f0a-9a51-0c2d7e8b4f11"
HEADER = SessionMark("header", "run-1")


@pytest.mark.parametrize(
    ("headers", "body", "mark"),
    [
        ({}, {}, IMPLICIT),
        ({"x-comptroller-session": "run-1"}, {}, HEADER),
        ({"x-comptroller-session": "run-1", "x-claude-code-session-id": UUID}, {}, HEADER),
        ({"x-claude-code-session-id": UUID}, {}, SessionMark("claude-code", UUID)),
        (
            {"x-claude-code-session-id": UUID, "x-claude-code-agent-id": "agent-7"},
            {},
            SessionMark("claude-code", f"{UUID} agent-7", "agent-7", UUID, UUID),
        ),
        # An id of a sub-agent that is none is no reason to refuse: it is the run's call.
        ({"x-claude-code-session-id": UUID, "x-claude-code-agent-id": "a b"}, {}, SessionMark("claude-code", UUID)),
        ({"x-claude-code-session-id": UUID, "x-claude-code-agent-id": "a" * 129}, {}, SessionMark("claude-code", UUID)),
        (
            {
                "x-claude-code-session-id": UUID,
                "x-claude-code-agent-id": "a1",
                "x-claude-code-parent-agent-id": "\u00e4",
            },
            {},
            SessionMark("claude-code", f"{UUID} a1", "a1", UUID, UUID),
        ),
        ({"x-session-id": "s 2", "x-parent-session-id": "ses_1"}, {}, SessionMark("opencode", "ses_1")),
        ({"session-id": UUID, "originator": "codex_cli_rs"}, {}, SessionMark("codex", UUID)),
        (
            {"session-id": UUID, "originator": "codex_exec", "thread-id": "t1"},
            {},
            SessionMark("codex", UUID, "t1"),
        ),
        ({"session-id": UUID}, {}, IMPLICIT),  # somebody else's header of the same name
        ({"x-codex-turn-metadata": json.dumps({"session_id": UUID})}, {}, SessionMark("codex", UUID)),
        ({"x-codex-turn-metadata": "no json"}, {}, IMPLICIT),
        ({"x-codex-turn-metadata": '{"session_id": 5}'}, {}, IMPLICIT),
        ({"x-session-id": "ses_1"}, {}, SessionMark("opencode", "ses_1", "ses_1")),
        (
            {"x-session-id": "ses_2", "x-parent-session-id": "ses_1"},
            {},
            SessionMark("opencode", "ses_2", "ses_2", "ses_1", "ses_1"),
        ),
        ({}, {"metadata": {"user_id": json.dumps({"session_id": UUID})}}, SessionMark("claude-code", UUID)),
        ({}, {"metadata": {"user_id": f"user_abc_account__session_{UUID}"}}, SessionMark("claude-code", UUID)),
        ({}, {"metadata": {"user_id": "alice"}}, IMPLICIT),
        ({}, {"metadata": {"user_id": 7}}, IMPLICIT),
        ({}, {"metadata": "text"}, IMPLICIT),
        ({}, {"client_metadata": {"session_id": UUID}}, SessionMark("codex", UUID)),
        ({}, {"client_metadata": {"session_id": ""}}, IMPLICIT),
        ({}, {"client_metadata": [1]}, IMPLICIT),
        ({"originator": "codex_exec"}, {"prompt_cache_key": UUID}, SessionMark("codex", UUID)),
        ({"x-initiator": "agent"}, {"prompt_cache_key": UUID}, SessionMark("copilot", UUID)),
        ({"x-initiator": "user"}, {"prompt_cache_key": 5}, IMPLICIT),
        ({}, {"prompt_cache_key": "my-app-v1"}, IMPLICIT),  # shared by all users of a program
    ],
)
def test_rule_13_marks_of_agents_and_without_one_the_keys_own_session(
    headers: dict[str, str], body: dict[str, object], mark: SessionMark
) -> None:
    assert mark_of(headers, body) == mark


CODEX_TURN = {"session_id": UUID, "thread_id": "t1", "turn_id": "u1", "thread_source": "user", "request_kind": "turn"}
CODEX = {
    "originator": "codex_exec",
    "session-id": UUID,
    "thread-id": "t1",
    "x-client-request-id": "t1",
    "x-codex-turn-metadata": json.dumps(CODEX_TURN),
}
CODEX_BODY = {"store": False, "prompt_cache_key": UUID, "client_metadata": {"session_id": UUID, "thread_id": "t1"}}
CLAUDE = {"x-claude-code-session-id": UUID, "user-agent": "claude-cli/2.1.330 (external, sdk-cli)", "x-app": "cli"}
CLAUDE_BODY = {"metadata": {"user_id": json.dumps({"device_id": "d", "account_uuid": "", "session_id": UUID})}}
OPENCODE = {"x-session-id": "ses_1", "x-session-affinity": "ses_1"}
CHAT = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    ("headers", "body", "mark"),
    [
        pytest.param(CLAUDE, CLAUDE_BODY, SessionMark("claude-code", UUID), id="claude-code"),
        pytest.param(
            {**CLAUDE, "x-claude-code-agent-id": "a1b2"},
            CLAUDE_BODY,
            SessionMark("claude-code", f"{UUID} a1b2", "a1b2", UUID, UUID),
            id="claude-code-sub-agent",
        ),
        pytest.param(
            {**CLAUDE, "x-claude-code-agent-id": "c3d4", "x-claude-code-parent-agent-id": "a1b2"},
            CLAUDE_BODY,
            SessionMark("claude-code", f"{UUID} c3d4", "c3d4", f"{UUID} a1b2", UUID),
            id="claude-code-agent-of-a-sub-agent",
        ),
        pytest.param(CODEX, CODEX_BODY, SessionMark("codex", UUID, "t1"), id="codex"),
        pytest.param(
            {**CODEX, "thread-id": "t2", "x-codex-parent-thread-id": "t1", "x-openai-subagent": "collab_spawn"},
            CODEX_BODY,
            SessionMark("codex", f"{UUID} t2", "t2", f"{UUID} t1", UUID),
            id="codex-sub-agent",
        ),
        pytest.param(
            {"x-codex-turn-metadata": json.dumps({**CODEX_TURN, "thread_id": "t2"})},
            CODEX_BODY,
            SessionMark("codex", UUID, "t2"),
            id="codex-turn-metadata-only",
        ),
        pytest.param({}, CODEX_BODY, SessionMark("codex", UUID, "t1"), id="codex-body-only"),
        pytest.param(OPENCODE, {}, SessionMark("opencode", "ses_1", "ses_1"), id="opencode"),
        pytest.param(
            {"x-session-id": "ses_2", "x-session-affinity": "ses_2", "x-parent-session-id": "ses_1"},
            {},
            SessionMark("opencode", "ses_2", "ses_2", "ses_1", "ses_1"),
            id="opencode-sub-agent",
        ),
        pytest.param(
            {"x-initiator": "user", "x-interaction-type": "conversation-agent"},
            {"input": [], "prompt_cache_key": UUID},
            SessionMark("copilot", UUID),
            id="copilot-responses",
        ),
        pytest.param({"x-initiator": "user"}, CHAT, IMPLICIT, id="copilot-chat"),
        pytest.param(
            {"user-agent": "GeminiCLI-tui/0.61.0/gemini-3.5-pro (linux; x64; terminal)"},
            {"contents": []},
            IMPLICIT,
            id="gemini-cli",
        ),
        pytest.param(
            {
                "x-comptroller-session": "run-1",
                "user-agent": "GeminiCLI-tui/0.61.0/gemini-3.5-pro (linux; x64; terminal)",
            },
            {"contents": []},
            HEADER,
            id="gemini-cli-custom-header",
        ),
        pytest.param({"user-agent": "QwenCode/0.15.10 (linux; x64)"}, CHAT, IMPLICIT, id="qwen-code"),
        pytest.param({"x-stainless-lang": "python"}, CHAT, IMPLICIT, id="openai-sdk"),
        pytest.param(
            {"x-stainless-lang": "python", "anthropic-version": "2026-10-21"}, CHAT, IMPLICIT, id="anthropic-sdk"
        ),
    ],
)
def test_what_each_program_sends_leads_to_its_session(
    headers: dict[str, str], body: dict[str, object], mark: SessionMark
) -> None:
    assert mark_of(headers, body) == mark


@pytest.mark.parametrize("session", ["", " ", "a b", "a\nb", "é", "x" * (ID_LENGTH_MAX + 1), "cptr_ss_ a"])
def test_rule_16_a_bad_own_header_is_refused_never_read_as_no_mark(session: str) -> None:
    with pytest.raises(MarkRefused):
        mark_of({"x-comptroller-session": session}, {})


@pytest.mark.parametrize("token", ["cptr_ss_", "cptr_ss_abc", "CPTR_SS_abc", "Cptr_sS_" + "x" * 500])
def test_rule_16_what_looks_like_a_childs_token_is_never_an_id(token: str) -> None:
    assert mark_of({"x-comptroller-session": token}, {}) == SessionMark(CHILD, token)
    for headers in ({"x-claude-code-session-id": token}, {"x-session-id": token, "x-parent-session-id": token}):
        with pytest.raises(MarkRefused):
            mark_of(headers, {})


def test_a_token_has_a_longest_length() -> None:
    with pytest.raises(MarkRefused, match="damaged"):
        mark_of({"x-comptroller-session": "cptr_ss_" + "x" * CHILD_TOKEN_LENGTH_MAX}, {})


def test_the_longest_id_is_taken() -> None:
    assert mark_of({"x-comptroller-session": "x" * ID_LENGTH_MAX}, {}).client_id == "x" * ID_LENGTH_MAX


def session(mark: SessionMark = HEADER, **changes: object) -> Session:
    base = Session("ses_1", "key_1", mark, SessionState.OPEN, NOW_US, NOW_US, NOW_US)
    return replace(base, **changes)  # type: ignore[arg-type]


GOES_ON, REOPENS, AFRESH, EXPIRED = (
    Continuation.GOES_ON,
    Continuation.REOPENS,
    Continuation.STARTS_AFRESH,
    Continuation.EXPIRED,
)


@pytest.mark.parametrize(
    ("after_us", "in_flight", "named", "implicit"),
    [
        (0, 0, GOES_ON, GOES_ON),
        (IDLE_US, 0, GOES_ON, GOES_ON),
        (IDLE_US + 1, 0, REOPENS, AFRESH),
        (IDLE_US + 1, 1, GOES_ON, GOES_ON),  # a call in flight is not idling
        (WALL_US, 1, GOES_ON, GOES_ON),
        (WALL_US + 1, 1, EXPIRED, EXPIRED),
        (WALL_US + 1, 0, REOPENS, AFRESH),
        (CLIENT_ID_LIFE_US, 0, REOPENS, AFRESH),
        (CLIENT_ID_LIFE_US + 1, 0, AFRESH, AFRESH),
    ],
)
def test_rule_14_idle_wall_time_and_thirty_days(
    after_us: int, in_flight: int, named: Continuation, implicit: Continuation
) -> None:
    now_us = NOW_US + after_us
    assert continue_session(session(), RULES, now_us, in_flight=in_flight) is named
    assert continue_session(session(IMPLICIT), RULES, now_us, in_flight=in_flight) is implicit


@pytest.mark.parametrize("mark", [HEADER, IMPLICIT])
def test_rule_14_wall_time_ends_a_busy_session(mark: SessionMark) -> None:
    busy = session(mark, last_active_us=NOW_US + WALL_US)
    assert continue_session(busy, RULES, NOW_US + WALL_US, in_flight=0) is GOES_ON
    assert continue_session(busy, RULES, NOW_US + WALL_US + 1, in_flight=0) is EXPIRED


def test_rule_14_idle_runs_from_the_end_of_the_last_call() -> None:
    late = session(last_active_us=NOW_US + IDLE_US)
    assert continue_session(late, RULES, NOW_US + 2 * IDLE_US, in_flight=0) is GOES_ON


@pytest.mark.parametrize("mark", [HEADER, IMPLICIT])
@pytest.mark.parametrize("state", [SessionState.PAUSED, SessionState.STOPPED])
@pytest.mark.parametrize("after_us", [0, IDLE_US + 1, WALL_US + 1, CLIENT_ID_LIFE_US + 1])
def test_rule_14_never_afresh_while_paused_or_stopped(mark: SessionMark, state: SessionState, after_us: int) -> None:
    assert continue_session(session(mark, state=state), RULES, NOW_US + after_us, in_flight=0) is GOES_ON


def test_rule_14_a_closed_session_comes_back_with_its_client_only() -> None:
    closed = SessionState.CLOSED
    assert continue_session(session(state=closed), RULES, NOW_US, in_flight=0) is REOPENS
    assert continue_session(session(IMPLICIT, state=closed), RULES, NOW_US, in_flight=0) is AFRESH


def test_every_state_can_be_left_and_opened_again() -> None:
    assert set(TRANSITIONS) == set(SessionState)
    assert all(SessionState.OPEN in after for state, after in TRANSITIONS.items() if state is not SessionState.OPEN)
    assert all(state not in after for state, after in TRANSITIONS.items())
