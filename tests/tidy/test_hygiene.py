"""What may stand in no file: things put off, places that exist on one machine only, secrets that work."""

import re

from tests.tidy.tree import texts

PUT_OFF = re.compile(r"\b(?:TODO|FIXME)\b")
INDEX_HOSTS = re.compile(
    r"pypi\.org|pythonhosted\.org|registry\.npmjs\.org|(?:deb|security)\.debian\.org|--(?:extra-)?index-url|--find-links"
)
MACHINE_PATHS = re.compile(r"(?<![\w.)}])/(?:work|root|opt/pypi|opt/wheels)(?![\w-])")
PROVIDER_SECRETS = re.compile(r"\b(?:sk-(?:proj|ant)-[A-Za-z0-9_-]{40,}|AKIA[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{35})\b")

THIS_FILE = "tests/tidy/test_hygiene.py"


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()[:100]}"
        for path, text in texts()
        if path != THIS_FILE and pattern.search(text)
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_nothing_is_put_off() -> None:
    assert lines_with(PUT_OFF) == []


def test_no_package_index_is_named() -> None:
    assert lines_with(INDEX_HOSTS) == []


def test_no_path_of_one_machine() -> None:
    assert lines_with(MACHINE_PATHS) == []


def test_no_provider_secret() -> None:
    assert lines_with(PROVIDER_SECRETS) == []


def test_locks_pin_every_package_by_hash() -> None:
    locks = [(path, text) for path, text in texts() if path.startswith("requirements/")]
    assert {path.removeprefix("requirements/") for path, _ in locks} == {
        "base.txt", "bedrock.txt", "build.txt", "dev.txt", "fast.txt", "model.txt", "test.txt"
    }  # fmt: skip
    loose = [
        f"{path}: {entry[0]}"
        for path, text in locks
        for entry in re.findall(r"^([^\s#].*(?:\n {4}--hash.*)*)", text, re.MULTILINE)
        if "==" not in entry or "--hash=sha256:" not in entry
    ]
    assert loose == []


def test_locks_agree_on_versions() -> None:
    """A package has one version for a Python, whichever lock is installed."""
    pins = {
        path: set(re.findall(r"^(\S+==\S+)", text, re.MULTILINE))
        for path, text in texts()
        if path.startswith("requirements/")
    }
    everything = pins["requirements/dev.txt"]
    named = {pin.partition("==")[0] for pin in everything}
    strays = {
        f"{path}: {pin}"
        for path, found in pins.items()
        for pin in found - everything
        if pin.partition("==")[0] in named
    }
    assert strays == set()


def test_casbin_comes_from_one_distribution() -> None:
    """`casbin` and `pycasbin` install the same package; whichever comes last would win."""
    assert not [
        path
        for path, text in texts()
        if path.startswith("requirements/") and re.search(r"^casbin==", text, re.MULTILINE)
    ]
