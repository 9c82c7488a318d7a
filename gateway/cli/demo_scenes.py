"""The five scenes of the demo: real agents act, and what happened is told to people (`told`) and to programs (`facts`).

Rule: every figure comes from a reply or from the books; nothing is known beforehand.
"""

import asyncio
import json
import textwrap
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

from gateway.cli.demo_agents import Agent, Message, Reply
from gateway.cli.demo_gateway import DemoFailed, Gateway
from gateway.cli.demo_setup import Ground
from gateway.cli.output import decimal

SECTIONS = 3
TRIES_MAX = 12
WORKERS = 10
TRIAL_TOOL = "deploy__release"


class Kind(StrEnum):
    SAY = "say"
    QUOTE = "quote"
    VERBATIM = "verbatim"


@dataclass(frozen=True, slots=True)
class Part:
    """A paragraph of ours, a quotation of the gateway, or text that keeps its lines."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Scene:
    name: str
    title: str
    told: tuple[Part, ...]
    facts: Mapping[str, Any]
    replies: tuple[Reply, ...]

    @property
    def answered(self) -> int:
        return sum(1 for reply in self.replies if reply.error is None)


@dataclass(frozen=True, slots=True)
class Stage:
    """What every scene plays on."""

    ground: Ground
    gateway: Gateway

    def agent(self, name: str) -> Agent:
        return Agent(self.gateway, name, self.ground.keys[name])


Play = Callable[[Stage], Awaitable[Scene]]


def say(text: str) -> Part:
    return Part(Kind.SAY, text)


def quote(text: str) -> Part:
    return Part(Kind.QUOTE, text)


async def planner(stage: Stage) -> Scene:
    """Asks what it may use, plans with it, and finishes."""
    agent = stage.agent("writer")
    await agent.ask("sim-small", "Plan a report about rate limits in three sections. [words:60]")
    quota = await agent.quota_status()
    limits = quota["sessions"][0]["limits"]
    tokens = _limit(limits, "session-tokens")
    share = tokens["remaining"] // 2 // SECTIONS
    words = share * 2 // 3
    for number in range(1, SECTIONS + 1):
        await agent.ask("sim-small", f"Write section {number} of the report. [words:{words}]", max_tokens=share)
    session = await stage.gateway.booked(agent.session_id, agent.answered)
    after = _limit(session["limits"], "session-tokens")
    told = (
        say("`writer` makes a plan, then asks over MCP (tool `quota_status`) what its session may still use:"),
        *(quote(f"{limit['name']}: {_of(limit, 'remaining')} left") for limit in limits),
        say(
            f"It plans to use half of the tokens left, at most {share:,} for each of {SECTIONS} sections, writes them, "
            f"and is done: {session['calls']} calls, {_of(after, 'spent')}, {decimal(session['cost_usd'])} USD."
        ),
    )
    facts = {"quota_status": limits, "session": _session_facts(session), "limit": after}
    return Scene("planner", "An agent that plans with its budget", told, facts, tuple(agent.replies))


async def runaway(stage: Stage) -> Scene:
    """Sends one request again and again, and does not even stop at the first refusal."""
    agent = stage.agent("watcher")
    refused: list[Reply] = []
    while len(refused) < 2 and len(agent.replies) < TRIES_MAX:
        reply = await agent.ask("sim-small", "Is the build green now? [words:40]")
        if reply.error is not None:
            refused.append(reply)
    if len(refused) < 2:
        raise DemoFailed("the runaway agent was not stopped")
    answered = [reply for reply in agent.replies if reply.error is None]
    session = await stage.gateway.booked(agent.session_id, agent.answered)
    resumed = await stage.gateway.admin("POST", f"/sessions/{session['id']}", json={"action": "resume"})
    different = await agent.ask("sim-small", "Which step of the build failed? [words:40]")
    if different.error is not None:
        raise DemoFailed("the session that was resumed was refused again")
    warned = [reply for reply in answered if reply.warning]
    first, second = refused
    told = (
        say(
            f"`watcher` sends the same request over and over. {len(answered)} are answered, the last {len(warned)} of "
            f"them with a warning. The next one is refused (HTTP {first.status}, {first.code}) and never reaches the "
            "provider:"
        ),
        quote(first.message),
        say(
            f"It tries once more and is refused again ({second.code}). The loop cost {decimal(session['cost_usd'])} "
            "USD. Then a person lets it go on (`comptroller sessions resume`), and its next, different request is "
            "answered."
        ),
    )
    facts = {
        "answered": len(answered),
        "warned": len(warned),
        "refused": [_refusal_facts(reply) for reply in refused],
        "session": _session_facts(session),
        "resumed": resumed,
    }
    return Scene("runaway", "An agent that runs in circles", told, facts, tuple(agent.replies))


async def spender(stage: Stage) -> Scene:
    """Carries its whole conversation along, as agents do, until the session's budget is used up; then it stops."""
    agent = stage.agent("researcher")
    conversation: list[Message] = []
    reply = None
    for number in range(1, TRIES_MAX + 1):
        conversation.append({"role": "user", "content": f"Read paper {number} and sum it up. [words:320]"})
        reply = await agent.ask("sim-large", conversation)
        if reply.error is not None:
            break
        conversation.append({"role": "assistant", "content": reply.text})
    if reply is None or reply.error is None:
        raise DemoFailed("the session budget was never reached")
    session = await stage.gateway.booked(agent.session_id, agent.answered)
    limit = _limit(session["limits"], reply.denial["limit"]["name"])
    told = (
        say(
            f"`researcher` uses the large model and sends its whole conversation with every call. After "
            f"{session['calls']} calls the next one could pass the session's limit `{limit['name']}`, so it is refused "
            f"before it is sent (HTTP {reply.status}):"
        ),
        quote(reply.message),
        say("Programs get the same as an object, `error.comptroller` (empty fields left out here):"),
        Part(Kind.VERBATIM, _object_text(reply.denial)),
        say(
            "The reply also says that trying again does not help (`x-should-retry: false`): the agent stops at once. "
            f"Booked: {_of(limit, 'spent')}."
        ),
    )
    facts = {"refused": [_refusal_facts(reply)], "session": _session_facts(session), "limit": limit}
    return Scene("spender", "An agent that runs into its session budget", told, facts, tuple(agent.replies))


async def crowd(stage: Stage) -> Scene:
    """Ten agents, each with a key made just now, call at the same moment on a budget that has room for some."""
    agents = [await _hired(stage, f"worker-{number:02}") for number in range(1, WORKERS + 1)]
    prompt = "Check the nightly backup and report. [words:300] [latency:0.2]"
    replies = await asyncio.gather(*(agent.ask("sim-small", prompt, max_tokens=400) for agent in agents))
    answered = [(agent, reply) for agent, reply in zip(agents, replies, strict=True) if reply.error is None]
    refused = [reply for reply in replies if reply.error is not None]
    for agent, _ in answered:
        await stage.gateway.booked(agent.session_id, agent.answered)
    (counter,) = (await stage.gateway.admin("GET", "/limits/nightly-day"))["limits"]
    shortened = sum(1 for _, reply in answered if reply.clamped)
    cut = f" ({shortened} of them more briefly, to fit into what was left)" if shortened else ""
    codes = ", ".join(sorted({reply.code for reply in refused})) or "nothing"
    told = (
        say(
            "Ten workers of the app `nightly` each get a key and call at the same moment. Together they may spend "
            f"{decimal(counter['limit'])} USD a day. {len(answered)} are answered{cut}, {len(refused)} are refused "
            f"({codes})."
        ),
        say(
            f"Booked: {_of(counter, 'spent')}. The money for a call is set aside before the call leaves, so the limit "
            "holds however many come at once."
        ),
    )
    facts = {
        "agents": WORKERS,
        "answered": len(answered),
        "shortened": shortened,
        "refused": [_refusal_facts(reply) for reply in refused],
        "limit": counter,
    }
    return Scene("crowd", "Ten agents at once on one budget", told, facts, tuple(replies))


async def trainee(stage: Stage) -> Scene:
    """Asks for a model and offers a tool that the policy keeps from it, then does what it may."""
    agent = stage.agent("trainee")
    tool = {"type": "function", "function": {"name": TRIAL_TOOL, "parameters": {"type": "object", "properties": {}}}}
    model_denied = await agent.ask("sim-large", "Sum up the release notes.")
    tool_denied = await agent.ask("sim-small", "Release it.", tools=[tool])
    allowed = await agent.ask("sim-small", "Sum up the release notes.")
    if not model_denied.code or not tool_denied.code or allowed.error is not None:
        raise DemoFailed("the policy did not decide as its tests say")
    told = (
        say(f"`trainee` is on trial. It asks for the large model (HTTP {model_denied.status}):"),
        quote(model_denied.message),
        _row(stage.ground, model_denied),
        say(f"Then it offers the tool `{TRIAL_TOOL}` to the small model (HTTP {tool_denied.status}):"),
        quote(tool_denied.message),
        _row(stage.ground, tool_denied),
        say("Without either, it gets its answer."),
    )
    facts = {
        "refused": [_refusal_facts(model_denied), _refusal_facts(tool_denied)],
        "answered": 1,
    }
    return Scene("policy", "An agent that asks for what the policy forbids", told, facts, tuple(agent.replies))


SCENES: tuple[Play, ...] = (planner, runaway, spender, crowd, trainee)


async def _hired(stage: Stage, name: str) -> Agent:
    """An agent with a key made at run time, as `comptroller keys create` makes it."""
    key = {"name": name, "user": "bob", "team": "demo", "app": "nightly", "agent": name}
    made = await stage.gateway.admin("POST", "/keys", json=key)
    return Agent(stage.gateway, name, made["secret"])


def _row(ground: Ground, reply: Reply) -> Part:
    """The policy row that decided, as it stands in the file."""
    rule = str(reply.denial["rule"])
    path, _, line = rule.rpartition(":")
    rows = (ground.directory / "policies" / Path(path).name).read_text("utf-8").splitlines()
    return Part(Kind.VERBATIM, f"{rule}   {rows[int(line) - 1]}")


def _limit(limits: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return next(limit for limit in limits if limit["name"] == name)


def _session_facts(session: Mapping[str, Any]) -> dict[str, Any]:
    names = ("id", "state", "agent", "calls", "denied", "input_tokens", "output_tokens", "cost_usd")
    return {name: session[name] for name in names}


def _refusal_facts(reply: Reply) -> dict[str, Any]:
    return {
        "status": reply.status,
        "code": reply.code,
        "message": reply.message,
        "waiting_helps": not reply.final,
        "comptroller": dict(reply.denial),
    }


def _object_text(denial: Mapping[str, Any]) -> str:
    fields = {name: value for name, value in denial.items() if value not in (None, [])}
    lines = [
        textwrap.fill(f"{json.dumps(name)}: {json.dumps(value)}", 88, initial_indent="  ", subsequent_indent="    ")
        for name, value in fields.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}"


def _of(limit: Mapping[str, Any], figure: str) -> str:
    """Such as `3,711 of 8,000 tokens`."""
    if limit["unit"] == "usd":
        return f"{decimal(limit[figure])} of {decimal(limit['limit'])} USD"
    return f"{limit[figure]:,} of {limit['limit']:,} {limit['unit'].replace('_', ' ')}"


def told_cost(scenes: Sequence[Scene]) -> Decimal:
    """What the agents were told in their replies' headers, summed."""
    return sum((reply.cost_usd for scene in scenes for reply in scene.replies), Decimal(0))
