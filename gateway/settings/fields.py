"""The kinds of values that settings are made of, in the form of the file, and what a program gets for them.

Rule: each kind takes a `Text` of the file or the finished value of a program; a program's `str` is read like a file's.
"""

import re
import zoneinfo
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    WrapSerializer,
)

from gateway.core.money import format_usd
from gateway.settings import quantities
from gateway.settings.findings import Fault, Flaw, suggestion
from gateway.settings.secret import Secret
from gateway.settings.tree import Text, shown

K = TypeVar("K")
T = TypeVar("T")
V = TypeVar("V")

_SENSITIVE = re.compile(r"authorization|cookie|secret|token|passw|credential|api[-_]?key|(^|[-_])key$", re.IGNORECASE)
_NAME = re.compile(r"[^\s,*\"'`\x00-\x1f\x7f]{1,128}")
_SERVER_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]|_(?!_)){0,31}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOOKS_TRUE = frozenset({"yes", "on", "y", "1", "ja"})
_LOOKS_FALSE = frozenset({"no", "off", "n", "0"})

BY_REFERENCE = "put it into the environment or a file and write `${NAME}` or `${file:/run/secrets/name}` here"


def setting(default: Any, description: str, *, alias: str | None = None, **bounds: Any) -> Any:
    """A field. The default is written as the file would say it and passes through the same validation."""
    return Field(default=default, validate_default=True, description=description, alias=alias, **bounds)


def section(kind: Callable[[], Any], description: str) -> Any:
    """A field that holds further settings, all at their defaults if the file says nothing."""
    return Field(default_factory=kind, description=description)


def _scalar(parse: Callable[[str], V], *native: type) -> BeforeValidator:
    """Reads a bare text by `parse`; a value of a `native` type is taken as it is."""

    def validate(value: object) -> object:
        if isinstance(value, Text) and not value.bare:
            raise Fault(f"{shown(value)} is text because of its quotes", "write it without quotes")
        if isinstance(value, str):
            return parse(value)
        if isinstance(value, native) and not (isinstance(value, bool) and bool not in native):
            return value
        raise Fault("must be a single value")

    return BeforeValidator(validate)


def _quoted_too(parse: Callable[[str], V], *native: type) -> BeforeValidator:
    """As `_scalar`, for values that are text in every reader of YAML, so that quotes make no difference."""

    def validate(value: object) -> object:
        if isinstance(value, str):
            return parse(str(value))
        if isinstance(value, native):
            return value
        raise Fault("must be text")

    return BeforeValidator(validate)


def _written(form: Callable[[Any], str]) -> PlainSerializer:
    """JSON shows a value as the file would."""
    return PlainSerializer(form, return_type=str, when_used="json")


def _truth(text: str) -> bool:
    lower = text.lower()
    if lower in ("true", "false"):
        return lower == "true"
    if lower in _LOOKS_TRUE:
        raise Fault("must be `true` or `false`", "write `true`")
    if lower in _LOOKS_FALSE:
        raise Fault("must be `true` or `false`", "write `false`")
    raise Fault("must be `true` or `false`")


def _factor(text: str) -> float:
    return float(quantities.parse_decimal(text))


def _off_or_several(text: str) -> int:
    if text == "off":
        return 0
    count = quantities.parse_count(text)
    if count < 2:
        raise Fault("must be at least 2, or `off`")
    return count


Flag = Annotated[bool, _scalar(_truth, bool)]
Count = Annotated[int, _scalar(quantities.parse_count, int)]
# 0 is off.
OffOrSeveral = Annotated[
    int,
    _scalar(_off_or_several, int),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 2}, {"const": "off"}]}),
]
Factor = Annotated[float, _scalar(_factor, float, int)]
Number = Annotated[
    Decimal, _scalar(quantities.parse_decimal, Decimal, int), WithJsonSchema({"type": "number", "minimum": 0})
]
UsdMicros = Annotated[
    int,
    _scalar(quantities.parse_usd_micros, int),
    _written(format_usd),
    WithJsonSchema({"type": "number", "minimum": 0}),
]
# Hundredths of a per cent.
Percent = Annotated[
    int,
    _quoted_too(quantities.parse_percent, int),
    _written(quantities.format_percent),
    WithJsonSchema({"type": "string", "pattern": quantities.PERCENT_PATTERN, "format": "percent"}),
]
PicosPerToken = Annotated[
    int,
    _scalar(quantities.parse_usd_per_mtok_picos, int),
    _written(quantities.format_usd_per_mtok),
    WithJsonSchema({"type": "number", "minimum": 0}),
]
Seconds = Annotated[
    float,
    _quoted_too(quantities.parse_duration_s, float, int),
    _written(quantities.format_duration_s),
    WithJsonSchema({"type": "string", "pattern": quantities.DURATION_PATTERN, "format": "duration"}),
]
Bytes = Annotated[
    int,
    _quoted_too(quantities.parse_size_bytes, int),
    _written(quantities.format_size_bytes),
    WithJsonSchema({"type": "string", "pattern": quantities.SIZE_PATTERN, "format": "size"}),
]
Day = Annotated[
    date,
    _quoted_too(quantities.parse_date, date),
    WithJsonSchema({"type": "string", "pattern": quantities.DATE_PATTERN, "format": "date"}),
]
InstantUs = Annotated[
    int,
    _quoted_too(quantities.parse_instant_us, int),
    _written(quantities.format_instant_us),
    WithJsonSchema({"type": "string", "pattern": quantities.INSTANT_PATTERN, "format": "date or time"}),
]


def _matching(pattern: re.Pattern[str], message: str, hint: str = "") -> AfterValidator:
    def validate(text: str) -> str:
        if not pattern.fullmatch(text):
            raise Fault(message, hint)
        return text

    return AfterValidator(validate)


def _principal(text: str) -> str:
    if text == "-" or not _NAME.fullmatch(text):
        raise Fault("is not a name", "up to 128 characters without spaces, commas, quotes and `*`; `-` means nobody")
    return text


def _timezone(text: str) -> str:
    try:
        zoneinfo.ZoneInfo(text)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        hint = suggestion(text, zoneinfo.available_timezones()) if len(text) < 40 else ""
        raise Fault("is not a time zone", hint if hint.startswith("did") else "write it like `Europe/Berlin`") from None
    return text


def _http_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not text.isprintable() or " " in text:
        raise Fault("is not an http:// or https:// address")
    parts = urlsplit(text)
    if parts.username is not None or parts.password is not None:
        raise Fault("holds a user name or a password", "give the secret by `api_key`, `headers` or `auth`")
    if parts.query or parts.fragment:
        raise Fault("must end with its path: no `?` and no `#`")
    return text.rstrip("/")


def _words(text: str) -> str:
    if not text.strip():
        raise Fault("must not be empty")
    return text


Name = Annotated[str, AfterValidator(_principal)]
ServerName = Annotated[
    str,
    _matching(_SERVER_NAME, "is not a name for a tool server", "a-z, 0-9, `-`, single `_`; at most 32, no `__`"),
]
Words = Annotated[str, AfterValidator(_words)]
TimeZone = Annotated[str, AfterValidator(_timezone)]
HttpUrl = Annotated[str, AfterValidator(_http_url), WithJsonSchema({"type": "string", "format": "http address"})]


def _tuple(value: object) -> object:
    if isinstance(value, str):
        raise Fault("must be a list", "put it in `[` and `]`")
    return tuple(value) if isinstance(value, list) else value


Items = Annotated[tuple[T, ...], BeforeValidator(_tuple)]


def _thawed(frozen: Mapping[str, object], serialize: SerializerFunctionWrapHandler) -> object:
    """Pydantic writes out a dict only."""
    return serialize(dict(frozen))


Keyed = Annotated[Mapping[K, T], AfterValidator(MappingProxyType), WrapSerializer(_thawed)]
Table = Keyed[str, T]
Named = Keyed[Name, T]


def _by_reference(value: object, *, allowed: tuple[str, ...] = ()) -> object:
    """Refuses a secret that stands in the file, be it as the value or as the default of a reference."""
    if isinstance(value, Text):
        written = value.inline if value.references else (value,)
        if any(text not in allowed for text in written):
            raise Fault("a secret must not stand in the configuration", BY_REFERENCE)
    if isinstance(value, str) and not re.fullmatch(r"[\x21-\x7e]+( [\x21-\x7e]+)*", value):
        raise Fault("a secret must be printable ASCII without line breaks")
    return value


def _lines_by_reference(value: object) -> object:
    """As `_by_reference`, for secrets that are files of several lines."""
    lines = value.splitlines() if isinstance(value, str) else []
    if not all(line.isascii() and line.expandtabs().isprintable() for line in lines):
        raise Fault("a secret must be printable ASCII")
    if isinstance(value, Text):
        _by_reference(Text("-", references=value.references, inline=value.inline))
    return value


def _by_reference_or_none(value: object) -> object:
    value = _by_reference(value, allowed=("none",))
    return None if value == "none" else value


def _sensitive_by_reference(value: object) -> object:
    """For maps of headers or variables: only those whose name says so must come by reference."""
    if not isinstance(value, Mapping):
        return value
    flaws = []
    for name, text in value.items():
        if _SENSITIVE.search(str(name)):
            try:
                _by_reference(text)
            except Fault as fault:
                flaws += [Flaw(flaw.message, flaw.hint, (name,)) for flaw in fault.flaws]
    if flaws:
        raise Fault.of(flaws)
    return value


SecretReference = Annotated[Secret, BeforeValidator(_by_reference)]
SecretText = Annotated[Secret, BeforeValidator(_lines_by_reference)]
ApiKey = Annotated[Secret | None, BeforeValidator(_by_reference_or_none)]
HeaderName = Annotated[str, _matching(_HEADER_NAME, "is not the name of a header")]
VariableName = Annotated[str, _matching(_VARIABLE_NAME, "is not the name of an environment variable")]
Headers = Annotated[Keyed[HeaderName, Secret], BeforeValidator(_sensitive_by_reference)]
Variables = Annotated[Keyed[VariableName, Secret], BeforeValidator(_sensitive_by_reference)]
