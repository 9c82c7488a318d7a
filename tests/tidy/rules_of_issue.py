"""The numbered rules of the specification that this project has built so far.

Each number here must be proven by at least one test whose name starts with `test_rule_<number>_`. A rule is added in
the change that completes it, never before.
"""

LAST = 35
BUILT: tuple[int, ...] = tuple(range(1, 36))
