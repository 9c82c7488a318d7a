"""The commented configuration that `comptroller init` writes."""

from importlib import resources


def sample_yaml() -> str:
    return resources.files("gateway.settings").joinpath("sample.yaml").read_text(encoding="utf-8")
