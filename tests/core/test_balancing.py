"""Which deployment is tried first."""

from collections import Counter
from typing import NamedTuple

import pytest

from gateway.core.balancing import Rotation, cheapest, least_loaded


class At(NamedTuple):
    weight: int = 1
    priority: int = 0


def test_weights_share_out_calls_exactly_and_evenly():
    places = [At(5), At(1), At(1)]
    rotation = Rotation(3)
    firsts = [rotation.order(places)[0] for _ in range(70)]
    assert Counter(firsts) == {0: 50, 1: 10, 2: 10}
    assert all(Counter(firsts[at : at + 7]) == {0: 5, 1: 1, 2: 1} for at in range(0, 70, 7))
    assert 1 in firsts[:5]


def test_every_deployment_stays_in_the_order_so_that_it_can_be_fallen_back_on():
    rotation = Rotation(4)
    places = [At(3), At(1, 1), At(2), At(9, 1)]
    for _ in range(20):
        order = rotation.order(places)
        assert sorted(order) == [0, 1, 2, 3]
        assert set(order[:2]) == {0, 2}, "priority comes before weight"


@pytest.mark.parametrize(
    ("loads", "first"),
    [((0, 0), 0), ((1, 0), 1), ((2, 1), 0), ((6, 1), 1)],
    ids=["tie by file order", "fewer", "room by weight", "full by weight"],
)
def test_least_loaded_counts_calls_for_each_unit_of_weight(loads, first):
    assert least_loaded([At(3), At(1)], loads.__getitem__)[0] == first


def test_cheapest_by_what_this_call_costs_within_its_priority():
    places = [At(), At(priority=1), At()]
    assert cheapest(places, (30, 1, 20).__getitem__) == [2, 0, 1]
