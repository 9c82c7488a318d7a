"""Every own tool, in the order in which they are listed."""

from collections.abc import Mapping
from typing import Final

from mcp_server.own import quota, requests, rules, sessions
from mcp_server.own.tool import OwnTool

TOOLS: Final[tuple[OwnTool, ...]] = (
    quota.STATUS,
    quota.ESTIMATE,
    quota.LIMITS,
    quota.HISTORY,
    requests.REQUEST_MORE,
    sessions.OPEN_CHILD,
    sessions.CLOSE,
    rules.MODELS,
    rules.EXPLAIN,
)
BY_NAME: Final[Mapping[str, OwnTool]] = {tool.name: tool for tool in TOOLS}
