"""Every setting stands in docs/configuration.md by its path: `server.port`, `keys[].name`, `models.<name>.tier`."""

import re

from tests.tidy.settings_tree import setting_paths
from tests.tidy.tree import ROOT

PAGE = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")


def test_every_setting_is_documented() -> None:
    assert len(setting_paths()) > 60
    assert sorted(setting_paths() - set(re.findall(r"`([^`\s]+)`", PAGE))) == []
