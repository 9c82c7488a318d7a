"""Who may appear: declared attributes of principals, and keys that the file declares."""

from typing import Annotated

from pydantic import AfterValidator, model_validator

from gateway.core.identity import well_formed
from gateway.settings.fields import (
    Flag,
    InstantUs,
    Items,
    Name,
    SecretReference,
    Table,
    Words,
    setting,
)
from gateway.settings.findings import Fault
from gateway.settings.limits import KeyLimit
from gateway.settings.section import Section


class Principal(Section):
    cost_center: Words | None = setting(None, "Cost centre that its calls are booked on.")
    labels: Table[str] = setting({}, "Further attributes, as text, for conditions and `label:x` selectors.")


class Team(Principal):
    leads: Items[Name] = setting((), "Users who lead the team.")


class User(Principal):
    groups: Items[Name] = setting((), "Groups, for conditions (`user.groups`).")


class Program(Principal):
    environment: Words | None = setting(None, "Such as `production` or `test`.")


class App(Program):
    pass


class Service(Program):
    pass


class Agent(Program):
    pass


def _something(patterns: tuple[str, ...]) -> tuple[str, ...]:
    if not patterns:
        raise Fault("is empty, so the key could do nothing", "leave it out not to narrow")
    return patterns


Patterns = Annotated[Items[Words], AfterValidator(_something)]


class Key(Section):
    name: Name = setting(..., "Unique name; `key:<name>` in policies.")
    secret: SecretReference = setting(..., "The key itself, by reference. `comptroller keys generate` makes one.")
    user: Name | None = setting(None, "Whose key it is.")
    team: Name | None = setting(None, "Team that its calls are booked on.")
    app: Name | None = setting(None, "App that uses it.")
    service: Name | None = setting(None, "Service that uses it.")
    agent: Name | None = setting(None, "Agent that uses it.")
    expires_at_us: InstantUs | None = setting(None, "Day (its first moment in UTC) or time.", alias="expires_at")
    models: Patterns | None = setting(
        None, "Only these of the models that the policy allows. A trailing `*` is a prefix."
    )
    tools: Patterns | None = setting(
        None, "Only these of the tools that the policy allows. A trailing `*` is a prefix."
    )
    limits: Items[KeyLimit] = setting((), "Limits of this key alone, beside those that bind it anyway.")
    may_assert_user: Flag = setting(
        False, "May name its end user: for attribution and `each: end_user`, never for rights."
    )
    enabled: Flag = setting(True, "A disabled key is refused at its next call.")

    @model_validator(mode="after")
    def _secret_is_a_key(self) -> "Key":
        if not well_formed(self.secret.reveal()):
            hint = "`comptroller keys generate` makes one: `cptr_sk_` and 38 characters with a checksum"
            raise Fault("is not a well-formed key", hint, at=("secret",))
        return self
