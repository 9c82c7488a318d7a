import copy
import json
import pickle

import pytest
from pydantic import BaseModel

from gateway.settings import Secret


class Holder(BaseModel):
    secret: Secret


def test_only_reveal_gives_it_away() -> None:
    secret = Secret("canary")
    assert secret.reveal() == "canary"
    for text in (str(secret), repr(secret), f"{secret}", f"{secret:>20}", "%s" % secret, json.dumps([str(secret)])):  # noqa: UP031 # one of the ways
        assert "canary" not in text
    holder = Holder(secret=secret)
    assert holder.model_dump_json() == '{"secret":"***"}'
    assert "canary" not in repr(holder)


@pytest.mark.parametrize("leak", [pickle.dumps, copy.deepcopy, json.dumps])
def test_it_is_not_written_out(leak) -> None:
    with pytest.raises(TypeError) as caught:
        leak(Secret("canary"))
    assert "canary" not in str(caught.value)


def test_it_compares_by_value_and_does_not_change() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    with pytest.raises(AttributeError):
        Secret("a").other = 1
