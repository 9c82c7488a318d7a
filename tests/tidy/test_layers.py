"""The layer contract names every part of the product, so that none stands outside it."""

import re
import tomllib

from tests.tidy.tree import PRODUCT, ROOT

CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DATA_ONLY = frozenset({"gateway.defaults"})


def test_every_part_has_its_layer() -> None:
    (layers,) = (c["layers"] for c in CONFIG["tool"]["importlinter"]["contracts"] if c["id"] == "layers")
    listed = {name for layer in layers for name in re.findall(r"[\w.]+", layer)}
    parts = {
        f"gateway.{path.stem}"
        for path in (ROOT / "gateway").iterdir()
        if not path.name.startswith(("_", ".")) and (path.is_dir() or path.suffix == ".py")
    }
    assert sorted(parts - listed - DATA_ONLY) == []


def test_product_packages_are_typed_and_shipped() -> None:
    assert [name for name in PRODUCT if not (ROOT / name / "py.typed").is_file()] == []
    assert tuple(CONFIG["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == PRODUCT
