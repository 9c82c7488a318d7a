"""What is said of a field that another family's provider has no counterpart for."""

from gateway.core.wire.facts import FieldRefused


def untranslatable(field: str, what: str = "") -> FieldRefused:
    """`what` of the field it is, where it is not all of it."""
    text = f"{what or f'`{field[:40]}`'} has no counterpart at the provider of this model, which speaks another format"
    return FieldRefused(field, text, unsupported=True)


def respelled(refused: FieldRefused, field: str) -> FieldRefused:
    """The same said of the field as its client calls it."""
    text = str(refused).replace(f"`{refused.field}`", f"`{field}`")
    return FieldRefused(field, text, unsupported=refused.unsupported)
