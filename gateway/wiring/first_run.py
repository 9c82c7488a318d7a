"""A start without a configuration file and without a past: an admin token and one virtual key, made and shown once."""

import secrets
from dataclasses import dataclass

from gateway.core.identity import VirtualKey, make_secret
from gateway.core.ledger import AdminChanged, KeySaved
from gateway.settings.defaults import LOCAL_USER
from gateway.wiring.node import ADMIN_DIGEST, Node

RANDOM_BITS = 192


@dataclass(frozen=True, slots=True)
class FirstRun:
    """Secrets that exist nowhere else: show them once and forget them. None = not made this time."""

    admin_token: str | None = None
    virtual_key: str | None = None
    models: tuple[str, ...] = ()


async def first_run(node: Node) -> FirstRun:
    """What has to be made at this start. With a configuration file only the admin token, if the file names none."""
    plane, now_us = node.plane, node.plane.clock.now_us()
    models = tuple(plane.catalog.models)
    admin_token = None
    if node.admin_digest is None:
        admin_token = f"cptr_admin_{secrets.token_urlsafe(32)}"
        digest = node.digest_of(admin_token)
        await node.books.remember(ADMIN_DIGEST, digest)
        await node.books.commit(AdminChanged(now_us, "first start", "admin_token.created", "admin", {}))
        node.admin_digest = digest
    if node.loaded.file or plane.keys.named(LOCAL_USER) is not None:
        return FirstRun(admin_token, None, models)
    secret = make_secret(secrets.randbits(RANDOM_BITS))
    key = VirtualKey(plane.ids.new("key"), LOCAL_USER, node.digest_of(secret), user=LOCAL_USER, created_at_us=now_us)
    await node.books.commit(KeySaved(now_us, "first start", "created", key))
    plane.keys.put(key)
    return FirstRun(admin_token, secret, models)
