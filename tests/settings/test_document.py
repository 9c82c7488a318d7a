"""How strictly the file itself is read."""

from pathlib import Path

import pytest

from gateway.settings import SettingsError, parse
from gateway.settings.document import BYTES_MAX
from tests.settings.samples import PATH, faults, hints, read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("server:\n  port: 1\n  port: 2\n", "3:3 server.port: `port` stands here a second time"),
        ("server: {}\nserver: {}\n", "2:1 server: `server` stands here a second time"),
        ("server: !!python/object:os.system {}\n", "1:9 : tags such as `!!python/object:os.system` are not allowed"),
        ("server: {host: !env X}\n", "1:16 : tags such as `!env` are not allowed"),
        ("server: {port: !!int 5}\n", "1:16 : tags such as `!!int` are not allowed"),
        ("server: &s {port: 1}\nsizes: {<<: *s}\n", "2:9 sizes: merge keys (`<<`) are not supported"),
        ("? [a]\n: 2\n", "1:3 : a key must be a plain word"),
        ("teams: {${PORT}: {}}\n", "1:10 : not valid YAML: expected ',' or '}', but got '{'"),
        ('teams: {"${PORT}": {}}\n', "1:9 teams: references are replaced in values only, not in keys"),
        ('teams: {"": {}}\n', "1:9 teams: this key is empty"),
        ("server: {}\n---\nserver: {}\n", "2:1 : a second document starts here; one file is one configuration"),
        ("server: [1\n", "2:1 : not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("server:\n\tport: 1\n", "2:1 : a tab cannot be used to indent"),
        ("server: *x\n", "1:9 : no anchor has the name 'x' (a leading `*` is an alias)"),
        ("- server\n", "1:1 : a configuration is a mapping"),
        ("server\n", "1:1 : a configuration is a mapping"),
        ("server: {host: a\x01b}\n", "1:17 : the character U+0001 is not allowed in YAML"),
        ("[" * 40 + "]" * 40, "1:33 : nested deeper than 32 levels"),
    ],
)
def test_what_is_refused_and_where(text: str, expected: str) -> None:
    assert faults(text) == [expected]


def test_a_text_that_is_not_utf8_is_refused_where_it_breaks() -> None:
    with pytest.raises(SettingsError) as caught:
        parse(b"server:\n  host: \xff\n", {}, path=PATH)
    (finding,) = caught.value.findings
    assert (finding.line, finding.column, finding.message) == (2, 9, "the file is not UTF-8 text")


def test_a_huge_file_is_refused_unread() -> None:
    assert faults("#" * (BYTES_MAX + 1)) == ["1:1 : the file is larger than 1024 KiB"]


@pytest.mark.parametrize(
    "text",
    [
        "teams: &a {x: *a}\n",
        "a: &a [1,1,1,1,1,1,1,1]\n"
        + "".join(f"{b}: &{b} [{','.join(['*' + a] * 8)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)),
    ],
)
def test_an_alias_bomb_is_refused(text: str) -> None:
    assert "once its aliases are written out" in faults(text)[0]


def test_small_aliases_work_and_faults_in_them_are_found_at_their_anchor() -> None:
    loaded = read("agents: {a: {labels: &l {kind: coding}}, b: {labels: *l}}")
    assert dict(loaded.settings.agents["b"].labels) == {"kind": "coding"}
    assert faults("server: &s {port: x}\nsizes: *s\n") == [
        "1:13 sizes.port: `port` is not a setting here",
        "1:19 server.port: must be a whole number",
    ]


def test_nothing_is_guessed_about_a_text() -> None:
    labels = read(
        """
        agents:
          a:
            labels:
              {no: no, on: on, yes: y, time: 12:30, truth: true, octal: 0100, day: 2027-01-01, exp: 1e3, null: "null"}
            cost_center: 4711
        """
    ).settings.agents["a"]
    assert dict(labels.labels) == {
        "no": "no",
        "on": "on",
        "yes": "y",
        "time": "12:30",
        "octal": "0100",
        "day": "2027-01-01",
        "exp": "1e3",
        "null": "null",
        "truth": "true",
    }
    assert labels.cost_center == "4711"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("server: {fast_path: yes}", "must be `true` or `false`", "write `true`"),
        ("server: {fast_path: off}", "must be `true` or `false`", "write `false`"),
        ("server: {port: 12:30}", "must be a whole number", "digits, with `_` between them if you like: `2_000_000`"),
        (
            "server: {port: 010}",
            "starts with a zero, which some readers of YAML take for base 8",
            "write it without the zero",
        ),
        ('server: {port: "8080"}', "`8080` is text because of its quotes", "write it without quotes"),
        ('server: {fast_path: "true"}', "`true` is text because of its quotes", "write it without quotes"),
    ],
)
def test_the_traps_of_older_yaml_are_named(text: str, message: str, hint: str) -> None:
    assert [fault.partition(": ")[2] for fault in faults(text)] == [message]
    assert hints(text) == [hint]


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "---\n", "\ufeffserver: {}\n", "server:\nteams: ~\nlimits: null\nagents: {a: }\n"]
)
def test_an_absent_value_is_the_default(text: str) -> None:
    settings = read(text).settings
    assert (settings.server.port, settings.limits) == (8080, ())


def test_all_faults_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """
        server: {prot: 1, port: x, host: "${NOPE}"}
        limits:
          - {name: a, tokens: 5}
          - {name: a, tokens: 5, window: dya}
        retention: {calls: 400d}
        models: {m: {provider: nope}}
    """
    assert faults(text) == [
        "2:10 server.prot: `prot` is not a setting here",
        "2:25 server.port: must be a whole number",
        "2:34 server.host: the environment variable `NOPE` is not set",
        "4:5 limits[0].window: is missing",
        "5:12 limits[1].name: the name `a` is taken",
        "5:34 limits[1].window: is not a window",
        "6:12 retention: `retention` is not built yet (planned); remove it",
        "7:24 models.m.provider: there is no provider `nope`",
    ]
