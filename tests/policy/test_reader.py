"""What the reader accepts, and the corpus of files that it refuses, each with the place and a fix."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.findings import PolicyInvalid
from gateway.policy.reader import PolicyFile, read_rows
from gateway.policy.rows import Effect, LinkType
from tests.policy.policies import rows_of

PATH = "policies/10-team.csv"
GOOD = "p, user:alice, gpt-5, -, model:invoke, , allow\n"
DENY = "p, role:banned, *, *, model:invoke, , deny\ng, user:mallory, role:banned\n"


def bytes_of(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.encode()


def findings_of(content: str | bytes):
    with pytest.raises(PolicyInvalid) as refusal:
        read_rows((PolicyFile(PATH, bytes_of(content)),))
    return refusal.value.findings


# (id, content, line, column, part of the message, part of the fix)
BAD = [
    ("bom", b"\xef\xbb\xbf" + GOOD.encode(), 1, 1, "byte order mark", "without BOM"),
    ("utf-16", GOOD.encode("utf-16"), 1, 1, "byte order mark", "UTF-8"),
    ("latin-1", GOOD.encode() + b"g, user:ren\xe9, role:x\n", 2, 12, "not UTF-8", "UTF-8"),
    ("upper row type", GOOD + "P, user:bob, *, -, model:invoke, , deny\n", 2, 1, "unknown row type 'P'", "write p"),
    ("upper link type", GOOD + "G, user:bob, role:x\n", 2, 1, "unknown row type 'G'", "write g"),
    ("p2", GOOD + "p2, user:bob, *, -, model:invoke, , deny\n", 2, 1, "unknown row type", "begins with"),
    ("g4", GOOD + "g4, a, group:b\n", 2, 1, "unknown row type", "begins with"),
    ("other comment", GOOD + "// nothing\n", 2, 1, "unknown row type", "a comment with #"),
    ("semicolons", GOOD + "p; user:bob; *; -; model:invoke; ; deny\n", 2, 1, "unknown row type", "with commas"),
    ("tabs", GOOD + "p,\tuser:bob, *, -, model:invoke, , deny\n", 2, 3, "U+0009", "remove it"),
    ("Deny", GOOD + "p, user:bob, *, -, model:invoke, , Deny\n", 2, 36, "no effect", "write deny"),
    ("alow", GOOD + "p, user:bob, *, -, model:invoke, , alow\n", 2, 36, "no effect", "write allow"),
    ("no effect", GOOD + "p, user:bob, *, -, model:invoke, ,\n", 2, 35, "no effect", "allow or deny"),
    (
        "deny # note",
        GOOD + "p, user:bob, *, -, model:invoke, , deny # why\n",
        2,
        41,
        "comment inside",
        "line of its own",
    ),
    ("# note, quoted", GOOD + 'p, user:bob, *, -, model:invoke, , "deny" # why\n', 2, 43, "after the closing", "comma"),
    ("note in a link", GOOD + "g, user:bob, role:x # why\n", 2, 20, "space inside a name", "remove it"),
    ("missing field", GOOD + "p, user:bob, *, -, model:invoke, deny\n", 2, 38, "7 fields, not 6", "keeps its comma"),
    (
        "extra field",
        GOOD + "p, user:bob, *, -, model:invoke, , deny, x\n",
        2,
        42,
        "7 fields, not 8",
        "quote a condition",
    ),
    ("trailing comma", GOOD + "g, user:bob, role:x,\n", 2, 21, "3 fields, not 4", "g, principal"),
    (
        "comma in a condition",
        GOOD + "p, user:bob, *, -, model:invoke, user.name in ['a', 'b'], deny\n",
        2,
        59,
        "7 fields, not 8",
        "quote a condition",
    ),
    ("short link", GOOD + "g, user:bob\n", 2, 12, "3 fields, not 2", "g, principal"),
    ("stray )", GOOD + "p, user:bob), *, -, model:invoke, , deny\n", 2, 12, "regular expression", "exact name"),
    ("open quote", GOOD + 'p, user:bob, *, -, model:invoke, "user.name, deny\n', 2, 34, "not closed", "close it"),
    ("quote over lines", GOOD + 'p, user:bob, *, -, model:invoke, "a\nb", deny\n', 2, 34, "not closed", "close it"),
    ("quote inside", GOOD + 'p, user:b"ob, *, -, model:invoke, , deny\n', 2, 10, "quote inside", "double the quotes"),
    ("space in quotes", GOOD + 'p, " user:bob", *, -, model:invoke, , deny\n', 2, 5, "no typed subject", "write user:"),
    ("cut in a row", GOOD + "p, user:bob, *, -, model:invoke, , deny", 2, 40, "may be cut off", "newline"),
    ("cut in a word", GOOD + "p, user:bob, *, -, mod", 2, 23, "may be cut off", "newline"),
    ("cut between rows", GOOD + DENY.splitlines()[0] + "\n", 2, 1, "nobody has role:banned", "write g"),
    ("count too small", GOOD + "# rows: 2\n", 2, 1, "holds 1 rows, not 2", "# rows: 1"),
    ("count no number", GOOD + "# rows: many\n", 2, 1, "holds 1 rows, not many", "# rows: 1"),
    ("a row too many for the count", "# rows: 1\n" + GOOD + DENY, 1, 1, "holds 3 rows, not 1", "# rows: 3"),
    ("empty", "", 0, 0, "holds no row", "remove the file"),
    ("comments only", "# nothing yet\n\n", 0, 0, "holds no row", "remove the file"),
    ("links only", "g, user:bob, role:x\n", 0, 0, "no p row at all", "write one"),
    (
        "role cycle",
        GOOD + "g, user:a, role:x\ng, role:x, role:y\ng, role:y, role:x\n",
        3,
        1,
        "reaches itself",
        "circle",
    ),
    ("self role", GOOD + "g, role:x, role:x\n", 2, 1, "reaches itself", "circle"),
    ("group cycle", GOOD + "g2, m, group:x\ng2, group:x, group:y\ng2, group:y, group:x\n", 3, 1, "reaches", "circle"),
    (
        "deep roles",
        GOOD + "g, user:a, role:0\n" + "".join(f"g, role:{n}, role:{n + 1}\n" for n in range(10)),
        12,
        1,
        "more than 10 links",
        "flatter",
    ),
    ("untyped subject", GOOD + "p, bob, *, -, model:invoke, , deny\n", 2, 4, "no typed subject", "user"),
    ("upper subject", GOOD + "p, User:bob, *, -, model:invoke, , deny\n", 2, 4, "no typed subject", "write user:"),
    ("unknown type", GOOD + "p, human:bob, *, -, model:invoke, , deny\n", 2, 4, "no typed subject", "team"),
    (
        "end user",
        GOOD + "p, end_user:bob, *, -, model:invoke, , deny\n",
        2,
        4,
        "no typed subject",
        "never for permission",
    ),
    ("group as subject", GOOD + "p, group:x, *, -, model:invoke, , deny\n", 2, 4, "no typed subject", "role: or team:"),
    ("star subject", GOOD + "p, *, *, -, model:invoke, , deny\n", 2, 4, "no typed subject", "role:everyone"),
    ("user star", GOOD + "p, user:*, *, -, model:invoke, , deny\n", 2, 9, "no wildcard", "role:everyone"),
    ("no name", GOOD + "p, user:, *, -, model:invoke, , deny\n", 2, 9, "is missing", "name it"),
    ("zero width", GOOD + "p, user:bo\u200bb, *, -, model:invoke, , deny\n", 2, 11, "U+200B", "remove it"),
    ("direction override", GOOD + "# \u202edeny\n", 2, 3, "U+202E", "remove it"),
    ("no-break space", GOOD + "p,\u00a0user:bob, *, -, model:invoke, , deny\n", 2, 3, "U+00A0", "remove it"),
    ("decomposed", GOOD + "p, user:rene\u0301, *, -, model:invoke, , deny\n", 2, 13, "stray character", "letters"),
    ("null", GOOD + "p, user:bob\x00, *, -, model:invoke, , deny\n", 2, 12, "U+0000", "remove it"),
    ("carriage return", GOOD + "p, user:bob, *, -, model:invoke, , allow\rp, user:c\n", 2, 41, "U+000D", "remove it"),
    ("form feed", GOOD + "\x0cp, user:bob, *, -, model:invoke, , deny\n", 2, 1, "U+000C", "remove it"),
    ("star in the middle", GOOD + "p, user:bob, *, a*b, tool:call, , deny\n", 2, 18, "at the end only", "trailing *"),
    ("star in front", GOOD + "p, user:bob, *, *__delete, tool:call, , deny\n", 2, 17, "at the end only", "trailing *"),
    ("two stars", GOOD + "p, user:bob, *, a**, tool:call, , deny\n", 2, 18, "at the end only", "trailing *"),
    ("regex", GOOD + "p, user:bob, gpt-[45], -, model:invoke, , deny\n", 2, 18, "regular expression", "exact name"),
    (
        "regex dot star",
        GOOD + "p, user:bob, ^gpt.*$, -, model:invoke, , deny\n",
        2,
        14,
        "regular expression",
        "exact name",
    ),
    ("brace", GOOD + "p, user:bob, {a}, -, model:invoke, , deny\n", 2, 14, "regular expression", "exact name"),
    (
        "cyrillic model",
        GOOD + "p, user:bob, gpt-\u043e, -, model:invoke, , deny\n",
        2,
        18,
        "stray character",
        "letters",
    ),
    ("empty model", GOOD + "p, user:bob, , -, model:invoke, , deny\n", 2, 14, "a model is missing", "name it"),
    ("upper group", GOOD + "g2, m, Group:x\n", 2, 8, "no group", "lower case"),
    ("bare group", GOOD + "g3, t, x\n", 2, 8, "no group", "write group:x"),
    ("star in group", GOOD + "g3, *, group:x\n", 2, 5, "cannot be put", "write * in the p row"),
    ("group star", GOOD + "p, user:bob, group:*, -, model:invoke, , deny\n", 2, 20, "no wildcard", "name the group"),
    (
        "unknown model group",
        GOOD + "p, user:bob, group:x, -, model:invoke, , deny\n",
        2,
        1,
        "no model is in",
        "write g2",
    ),
    (
        "group of the wrong kind",
        GOOD + "g2, m, group:x\np, user:bob, *, group:x, tool:call, , deny\n",
        3,
        1,
        "no tool is in group:x",
        "write g3",
    ),
    ("unknown inner group", GOOD + "g3, group:y, group:x\n", 2, 1, "nothing is in group:y", "write g3"),
    ("unknown role", GOOD + "p, role:contracter, *, -, model:invoke, , deny\n", 2, 1, "nobody has", "write g"),
    ("member of everyone", GOOD + "g, user:bob, role:everyone\n", 2, 14, "every call has", "remove"),
    ("everyone as member", GOOD + "g, role:everyone, role:x\n", 2, 4, "cannot be given", "p row"),
    ("role of a key kind", GOOD + "g, user:bob, app:x\n", 2, 14, "neither a role nor a team", "role:"),
    ("action typo", GOOD + "p, user:bob, *, -, model:invok, , deny\n", 2, 20, "no action", "did you mean model:invoke"),
    ("action star", GOOD + "p, user:bob, *, -, *, , deny\n", 2, 20, "no action", "one of"),
    ("action case", GOOD + "p, user:bob, *, *, Tool:Call, , deny\n", 2, 20, "no action", "did you mean tool:call"),
    ("portal case", GOOD + "p, user:bob, -, -, portal:Keys, , deny\n", 2, 20, "no portal action", "lower case"),
    ("portal with a model", GOOD + "p, user:bob, gpt-5, -, portal:keys, , deny\n", 2, 14, "has no model", "write -"),
    (
        "model call without one",
        GOOD + "p, user:bob, -, *, model:invoke, , deny\n",
        2,
        14,
        "always has a model",
        "write *",
    ),
    ("tool call without one", GOOD + "p, user:bob, *, -, tool:call, , deny\n", 2, 17, "always has a tool", "write *"),
    ("rule 20 allow -", GOOD + "p, user:bob, -, t, tool:call, , allow\n", 2, 14, "by * only", "write *"),
    (
        "args too early",
        GOOD + "p, user:bob, *, t, model:invoke, args.x == 1, deny\n",
        2,
        34,
        "never known",
        "tool:call",
    ),
    (
        "unknown attribute",
        GOOD + "p, user:bob, *, -, model:invoke, user.nme == 'a', deny\n",
        2,
        34,
        "unknown",
        "user.name",
    ),
    (
        "type error in a quoted condition",
        GOOD + 'p, user:bob, *, -, model:invoke, "limit[""day""].used_ratio > ""1""", deny\n',
        2,
        63,
        "cannot be compared",
        "a number",
    ),
    ("always true", GOOD + "p, user:bob, *, -, model:invoke, call.stream or true, deny\n", 2, 49, "a value alone", ""),
    ("python", GOOD + "p, user:bob, *, -, model:invoke, __import__('os'), deny\n", 2, 44, "no functions", "compare"),
    ("casbin words", GOOD + "p, user:bob, *, -, model:invoke, r.sub.age > 18 && true, deny\n", 2, 34 + 15, "&&", "and"),
    ("twice", GOOD + "# again\n" + GOOD, 3, 1, f"stands at {PATH}:1", "remove one"),
    ("twice, other spacing", GOOD + GOOD.replace(", ", " ,"), 2, 1, f"stands at {PATH}:1", "remove one"),
    ("too long a name", GOOD + f"p, user:{'b' * 300}, *, -, model:invoke, , deny\n", 2, 9, "too long", "at most"),
]


@pytest.mark.parametrize(
    ("content", "line", "column", "message", "fix"), [case[1:] for case in BAD], ids=[c[0] for c in BAD]
)
def test_a_trap_is_refused_with_its_place_and_a_fix(content, line, column, message, fix) -> None:
    finding = findings_of(content)[0]
    assert (finding.path, finding.line, finding.column) == (PATH, line, column), str(finding)
    assert message in finding.message
    assert fix in finding.fix
    assert finding.fix


def test_the_corpus_is_large_enough() -> None:
    assert len({case[0] for case in BAD}) == len(BAD) >= 40


def test_every_finding_is_collected_over_all_files_in_order() -> None:
    with pytest.raises(PolicyInvalid) as refusal:
        read_rows((PolicyFile("b.csv", b"P, x\np, user:a, *, -, nope, , Deny\n"), PolicyFile("a.csv", b"g, x, y\n")))
    places = [(finding.path, finding.line, finding.column) for finding in refusal.value.findings]
    assert places == [("a.csv", 1, 4), ("a.csv", 1, 7), ("b.csv", 1, 1), ("b.csv", 2, 18), ("b.csv", 2, 26)]
    assert str(refusal.value).count("fix: ") == 5


def test_a_sound_file_with_all_that_is_allowed() -> None:
    rows = rows_of(
        "# who\r\n"
        "\r\n"
        'g , user:ren\u00e9@example.com , "role:a"\r\n'
        "  g2, claude-*, group:premium\r\n"
        "g3, builtin:web_search, group:web\r\n"
        'p, role:a, group:premium, group:web, model:invoke, "limit[""day""].used_ratio < 0.5", allow\r\n'
        "p, role:a, anthropic/claude-3:beta, -, model:invoke, user.name == 'a', deny\r\n"
        "p, role:everyone, -, t, tool:call, , deny\r\n"
        "# rows: 6\r\n"
    )
    assert [link.type for link in rows.links] == [LinkType.ROLE, LinkType.MODEL_GROUP, LinkType.TOOL_GROUP]
    assert rows.links[0].member == "user:ren\u00e9@example.com"
    assert rows.rules[0].condition_text == 'limit["day"].used_ratio < 0.5'
    assert [rule.effect for rule in rows.rules] == [Effect.ALLOW, Effect.DENY, Effect.DENY]
    assert [rule.place.line for rule in rows.rules] == [6, 7, 8]


def test_the_version_names_the_content() -> None:
    assert rows_of(GOOD).version == rows_of(GOOD).version
    assert rows_of(GOOD).version != rows_of(GOOD + "# a note\n").version
    assert len(rows_of(GOOD).version) == 16


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_or_read(content: bytes) -> None:
    refused = False
    try:
        read_rows((PolicyFile(PATH, GOOD.encode() + content),))
    except PolicyInvalid as invalid:
        refused = bool(invalid.findings)
    assert refused or not content or content.endswith(b"\n")


COUNTED = "# rows: 3\n" + GOOD + DENY


@given(st.integers(len("# rows: 3\n"), len(COUNTED) - 1))
def test_a_file_that_is_cut_anywhere_is_refused_by_its_count(length: int) -> None:
    whole = COUNTED.encode()
    read_rows((PolicyFile(PATH, whole),))
    assert findings_of(whole[:length])
