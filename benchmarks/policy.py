"""How long a policy decision takes with many rules, cold and remembered. Run: python benchmarks/policy.py [rules]

The rules are a mix: users, teams and roles, groups, prefixes, one in five with a condition, one in ten a denial.
Cold means that neither the principal nor the pair of model and tool was seen before; the index alone answers.
"""

import gc
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, perf_counter_ns

from gateway.core.condition_context import PolicyContext
from gateway.policy.authority import CasbinAuthority
from gateway.policy.model_conf import read_model_conf
from gateway.policy.reader import PolicyFile, read_rows
from gateway.policy.rows import MODEL_INVOKE, Rows
from gateway.policy.snapshot import Snapshot

REQUESTS = 20_000
TARGET_US = 20
CONDITIONS = (
    "time.hour >= 8 and time.hour < 20",
    "agent.environment == 'production' and not call.stream",
    "'oncall' in user.groups or session.depth < 2",
    "user.labels.seniority in ['staff', 'senior']",
)
CONTEXT = PolicyContext(
    principal={"user.groups": ("oncall",), "user.labels.seniority": "staff", "agent.environment": "production"},
    call={"session.depth": 1, "call.stream": True},
)


def policy(rules: int) -> bytes:
    lines = [f"g, user:u{n}, role:r{n % 50}" for n in range(rules // 10)]
    lines += [f"g, role:r{n}, role:base{n % 5}" for n in range(50)]
    lines += [f"g2, model-{n}, group:tier{n % 4}" for n in range(40)]
    lines += [f"g3, server{n}__*, group:kind{n % 6}" for n in range(30)]
    rows: dict[str, None] = {}
    n = -1
    while len(rows) < rules:
        n += 1
        subject = (f"user:u{n % (rules // 10)}", f"role:r{n % 50}", f"team:t{n % 20}", f"role:base{n % 5}")[n % 4]
        model = (f"model-{n % 37}", f"group:tier{n % 4}", "*", f"model-{n % 9}*")[n // 4 % 4]
        tool = (f"server{n % 30}__tool{n}", f"group:kind{n % 6}", f"server{n % 30}__t{n}*", "-")[n // 16 % 4]
        condition = CONDITIONS[n // 5 % len(CONDITIONS)] if n % 5 == 0 else ""
        quoted = f'"{condition} or session.age_s > {n}"' if condition else ""
        rows.setdefault(f"p, {subject}, {model}, {tool}, model:invoke, {quoted}, {'deny' if n % 10 == 3 else 'allow'}")
    return ("\n".join([*lines, *rows]) + "\n").encode()


def measure(name: str, decide: Callable[[int], object], requests: int = REQUESTS) -> float:
    gc.collect()
    gc.disable()
    times_ns = []
    for number in range(requests):
        start_ns = perf_counter_ns()
        decide(number)
        times_ns.append(perf_counter_ns() - start_ns)
    gc.enable()
    cuts = statistics.quantiles(times_ns, n=1000)
    p50_us, p99_us, p999_us = cuts[499] / 1000, cuts[989] / 1000, cuts[998] / 1000
    print(f"{name:44} p50 {p50_us:8.2f} us   p99 {p99_us:8.2f} us   p99.9 {p999_us:8.2f} us")
    return p99_us


def decisions(rows: Rows, rules: int) -> bool:
    snapshot = Snapshot(rows)
    principals = [
        frozenset({f"user:u{n % (rules // 10)}", f"team:t{n % 20}", f"agent:a{n}", f"key:k{n}", f"app:app{n % 7}"})
        for n in range(REQUESTS)
    ]
    models = [f"model-{n % 45}" for n in range(REQUESTS)]
    tools = [f"server{n % 33}__tool{n}" for n in range(REQUESTS)]

    def cold(n: int) -> object:
        return snapshot.decide(principals[n], models[n], tools[n], MODEL_INVOKE, CONTEXT)

    def remembered(n: int) -> object:
        at = n % 500
        return snapshot.decide(principals[at], models[at], tools[at], MODEL_INVOKE, CONTEXT)

    declared = tuple(tools[:30])

    def call(n: int) -> object:
        at = n % 100
        return snapshot.decide_call(principals[at], models[at], declared, CONTEXT)

    cold_p99_us = measure(f"cold, {len(rows.rules)} rules", cold)
    for number in range(500):
        remembered(number)
    remembered_p99_us = measure("seen before (conditions still evaluated)", remembered)
    for number in range(100):
        call(number)
    measure("a call that declares 30 tools", call, 2_000)
    return max(cold_p99_us, remembered_p99_us) < TARGET_US


def main() -> int:
    rules = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    content = policy(rules)
    start = perf_counter()
    rows = read_rows((PolicyFile("policy.csv", content),))
    read = perf_counter()
    Snapshot(rows)
    compiled = perf_counter()
    model = read_model_conf("model.conf", Path("model.conf").read_bytes())
    authority = CasbinAuthority(rows, model.text)
    built = perf_counter()
    authority.enforce(frozenset({"user:u1"}), "model-1", "-", MODEL_INVOKE, CONTEXT)
    asked = perf_counter()
    print(f"read {1000 * (read - start):.0f} ms, compile {1000 * (compiled - read):.0f} ms, ", end="")
    print(f"load Casbin {1000 * (built - compiled):.0f} ms, one Casbin decision {1000 * (asked - built):.0f} ms")
    met = decisions(rows, rules)
    print(f"target p99 < {TARGET_US} us: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
