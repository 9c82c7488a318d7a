"""One tool, one name: what agents make of `server__tool`, and what it is brought back to."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.tool_name import NAME_CHARACTERS_MAX, ToolNames, builtin, canonical, is_server_name, shorten

LONG = "warehouse__list_all_open_purchase_orders_of_the_current_quarter_by_region"
KNOWN = (
    "github__search",
    "github__delete_repo",
    "my-files__read.text",
    "jira_cloud__issue_get",
    "a__b_c",
    "a_b__c",
    "quota_status",
    LONG,
)
GATEWAYS = ("comptroller", "company-ai")
NAMES = ToolNames(KNOWN, GATEWAYS, {"wh_0123": LONG})


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        pytest.param("github__search", "github__search", id="our own name"),
        pytest.param("mcp__comptroller__github__search", "github__search", id="Claude Code, Codex"),
        pytest.param("mcp__company-ai__github__search", "github__search", id="another name of the gateway"),
        pytest.param("mcp__company_ai__github__search", "github__search", id="its joint replaced"),
        pytest.param("mcp__github__search", "github__search", id="the server without the gateway"),
        pytest.param("comptroller__github__search", "github__search", id="older Codex"),
        pytest.param("comptroller_github__search", "github__search", id="opencode"),
        pytest.param("company-ai_github__search", "github__search", id="opencode, other name"),
        pytest.param("mcp_comptroller_github__search", "github__search", id="Gemini CLI, VS Code, Cursor"),
        pytest.param("comptroller-github__search", "github__search", id="Copilot CLI"),
        pytest.param("mcp--comptroller--github__search", "github__search", id="Roo"),
        pytest.param("MCP__Comptroller__GitHub__Search", "github__search", id="case changed"),
        pytest.param("mcp__comptroller__my-files__read_text", "my-files__read.text", id="a dot replaced"),
        pytest.param("comptroller_my_files__read_text", "my-files__read.text", id="all joints replaced"),
        pytest.param("mcp_comptroller_jira_cloud_issue_get", "jira_cloud__issue_get", id="separator collapsed"),
        pytest.param("mcp__gw__github__search", "github__search", id="an unknown name of the gateway"),
        pytest.param("mcp_gw_github__search", "github__search", id="the same, Gemini"),
        pytest.param("gw_github__delete_repo", "github__delete_repo", id="the same, opencode"),
        pytest.param("mcp__comptroller__quota_status", "quota_status", id="a tool of our own"),
        pytest.param("wh_0123", LONG, id="by the stored map"),
        pytest.param("mcp__comptroller__wh_0123", LONG, id="by the stored map, with a prefix"),
        pytest.param(shorten(LONG), LONG, id="our own shortening"),
        pytest.param(f"mcp__comptroller__{shorten(LONG)}", LONG, id="our own shortening, with a prefix"),
        pytest.param(f"mcp__comptroller__{LONG}"[:64], LONG, id="cut at 64"),
        pytest.param(f"comptroller_{LONG}"[:60], LONG, id="cut at 60"),
        pytest.param("mcp__comptroller__wh_0124", "comptroller__wh_0124", id="not in the stored map"),
        pytest.param("bash", "bash", id="a client's own"),
        pytest.param("my_github_search", "my_github_search", id="a client's own that only ends alike"),
        pytest.param("mcp__other__tool", "other__tool", id="a server that is not ours"),
        pytest.param("mcp__comptroller__new__tool", "new__tool", id="a tool of ours not known yet"),
        pytest.param("comptroller_new__tool", "new__tool", id="the same, opencode"),
        pytest.param("mcp_other_tool", "mcp_other_tool", id="no guess where to split"),
        pytest.param("mcp__alone", "mcp__alone", id="no server in it"),
        pytest.param("-", "function:-", id="not the word for no tool"),
        pytest.param("*", "function:*", id="not the word for any tool"),
        pytest.param("", "function:", id="no name at all"),
        pytest.param("builtin:web_search", "function:builtin:web_search", id="not a tool of the provider"),
        pytest.param("group:premium", "function:group:premium", id="not a group"),
        pytest.param("x" * 5000, "x" * 5000, id="absurdly long"),
    ],
)
def test_rule_19_canonical(declared: str, expected: str) -> None:
    assert NAMES.canonical(declared) == (expected,)


def test_rule_19_an_ambiguous_name_means_every_tool_that_it_could_be() -> None:
    assert NAMES.canonical("mcp_comptroller_a_b_c") == ("a__b_c", "a_b__c")


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_rule_19_shortened_by_codex_and_gemini(gateway: str) -> None:
    by_codex = f"mcp__{gateway}__{LONG}"
    digest = hashlib.sha1(by_codex.encode()).hexdigest()
    assert NAMES.canonical(by_codex[:24] + digest) == (LONG,)
    assert NAMES.canonical(by_codex[:24] + digest[::-1]) != (LONG,)
    by_gemini = f"mcp_{gateway}_{LONG}"
    assert NAMES.canonical(f"{by_gemini[:28]}___{by_gemini[-32:]}") == (LONG,)


@pytest.mark.parametrize(
    ("tool_type", "expected"),
    [
        ("web_search", "builtin:web_search"),
        ("web_search_20250305", "builtin:web_search"),
        ("web_search_preview_2025_03_11", "builtin:web_search_preview"),
        ("code_interpreter", "builtin:code_interpreter"),
    ],
)
def test_rule_19_tools_that_the_provider_runs(tool_type: str, expected: str) -> None:
    assert builtin(tool_type) == expected


@pytest.mark.parametrize("name", ["github", "my-files", "jira_cloud", "a.b", "x1"])
def test_server_names(name: str) -> None:
    assert is_server_name(name)


@pytest.mark.parametrize("name", ["", "a__b", "a_", "_a", "-a", "a b", "mcp", "MCP", "a\n", "g\u00eft"])
def test_rule_19_no_server_names(name: str) -> None:
    assert not is_server_name(name)


@given(st.text("abcdefghijklmnop_", min_size=1, max_size=120))
def test_shortening_fits_and_is_stable(name: str) -> None:
    short = shorten(name)
    assert len(short) <= NAME_CHARACTERS_MAX
    assert short == shorten(name)
    assert (short == name) == (len(name) <= NAME_CHARACTERS_MAX)


def test_shortened_names_stay_apart() -> None:
    names = {shorten(LONG + str(number)) for number in range(1000)}
    assert len(names) == 1000


PREFIXES = ("", "mcp__comptroller__", "mcp_comptroller_", "comptroller_", "comptroller-", "mcp--comptroller--")


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z]{1,6}", fullmatch=True), st.from_regex(r"[a-z]([a-z_-]{0,10}[a-z])?", fullmatch=True)
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(PREFIXES),
)
def test_rule_19_whatever_the_prefix_the_tool_itself_is_among_the_names(tools, prefix: str) -> None:
    known = [canonical(server, tool) for server, tool in tools]
    names = ToolNames(known, ["comptroller"])
    for name in known:
        assert name in names.canonical(prefix + name)


def test_all_of_a_call_without_doubles_also_the_second_time() -> None:
    declared = ("bash", "mcp__comptroller__github__search", "comptroller_github__search", "mcp_comptroller_a_b_c")
    for _ in range(2):
        assert NAMES.canonical_all(declared) == ("bash", "github__search", "a__b_c", "a_b__c")
    names = ToolNames(KNOWN, GATEWAYS)
    for number in range(2000):
        assert names.canonical_all((f"t{number}",)) == (f"t{number}",)
    assert len(names._remembered) <= 512
