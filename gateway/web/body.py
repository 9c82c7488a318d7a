"""Reads JSON bodies on the hot path: orjson first, the strict parser where orjson's reading could be one of several.

Rule: a body that orjson writes back byte for byte had no duplicate key, no exotic number and no odd escape, so it needs
no second look. Equal length would not do: `1e6` grows by six bytes in writing and can hide a dropped duplicate. White
space may differ: taking it out everywhere leaves every quote, comma and digit in its place, so as many pairs as before.
"""

from typing import Any

import orjson

from gateway.core import strict_json

_WHITE_SPACE = b" \t\r\n"
_READ_BELOW_TOKENS = 3 * strict_json.TOKENS_MAX
"""Reading a body of so many tokens takes less than lexing a long text for their exact number, and is as bounded."""


def parse_json(body: bytes) -> Any:
    """The value of a request or reply body. Raises strict_json.JsonRefused."""
    tokens_at_most = strict_json.token_bound(body)
    if tokens_at_most > _READ_BELOW_TOKENS:
        strict_json.check_token_count(body)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return strict_json.parse(body)
    if tokens_at_most > strict_json.TOKENS_MAX:
        strict_json.check_shape(value)
    else:
        strict_json.check_depth(body, value)
    written = orjson.dumps(value)
    if written == body or written.translate(None, _WHITE_SPACE) == body.translate(None, _WHITE_SPACE):
        return value
    # orjson refuses lone surrogates too, so what is left to judge is keys and numbers.
    return strict_json.parse_screened(body)
