"""Checks of the graph that `g`, `g2` and `g3` rows make: cycles, depth, and names that lead nowhere."""

from collections.abc import Iterator

from gateway.policy.findings import Finding
from gateway.policy.rows import CHAIN_LINKS_MAX, EVERYONE, GROUP_PREFIX, Link, LinkType, Rule


def link_findings(rules: tuple[Rule, ...], links: tuple[Link, ...]) -> Iterator[Finding]:
    for link_type in LinkType:
        of_type = tuple(link for link in links if link.type is link_type)
        yield from _chain_findings(of_type)
    yield from _unknown_name_findings(rules, links)


def _chain_findings(links: tuple[Link, ...]) -> Iterator[Finding]:
    """Peels members that nothing points at, layer by layer; what cannot be peeled lies on or behind a cycle."""
    outgoing: dict[str, list[Link]] = {}
    incoming: dict[str, int] = {}
    for link in links:
        outgoing.setdefault(link.member, []).append(link)
        incoming[link.group] = incoming.get(link.group, 0) + 1
    length = {member: 0 for member in outgoing if member not in incoming}
    ready = list(length)
    passed = 0
    while ready:
        member = ready.pop()
        for link in outgoing.get(member, ()):
            passed += 1
            steps = length[member] + 1
            if steps > length.get(link.group, 0):
                length[link.group] = steps
                if steps == CHAIN_LINKS_MAX + 1:
                    yield _finding(link, f"a chain of more than {CHAIN_LINKS_MAX} links", "make it flatter")
            incoming[link.group] -= 1
            if not incoming[link.group]:
                ready.append(link.group)
    if passed == len(links):
        return
    for link in links:
        if incoming.get(link.member) and incoming.get(link.group) and _leads_back(link, outgoing):
            yield _finding(link, f"{link.member} reaches itself through {link.group}", "break the circle")


def _leads_back(link: Link, outgoing: dict[str, list[Link]]) -> bool:
    seen: set[str] = set()
    ahead = [link.group]
    while ahead:
        name = ahead.pop()
        if name == link.member:
            return True
        if name not in seen:
            seen.add(name)
            ahead.extend(each.group for each in outgoing.get(name, ()))
    return False


def _unknown_name_findings(rules: tuple[Rule, ...], links: tuple[Link, ...]) -> Iterator[Finding]:
    """A rule for a role or group that nobody is in does nothing. If it denies, that leaves a door open."""
    known = {link_type: {link.group for link in links if link.type is link_type} for link_type in LinkType}
    for rule in rules:
        if rule.subject.startswith("role:") and rule.subject != EVERYONE and rule.subject not in known[LinkType.ROLE]:
            yield _unknown(rule, f"nobody has {rule.subject}", f"write g, <principal>, {rule.subject}")
        if rule.model.startswith(GROUP_PREFIX) and rule.model not in known[LinkType.MODEL_GROUP]:
            yield _unknown(rule, f"no model is in {rule.model}", f"write g2, <model>, {rule.model}")
        if rule.tool.startswith(GROUP_PREFIX) and rule.tool not in known[LinkType.TOOL_GROUP]:
            yield _unknown(rule, f"no tool is in {rule.tool}", f"write g3, <tool>, {rule.tool}")
    for link in links:
        if link.member.startswith(GROUP_PREFIX) and link.member not in known[link.type]:
            yield _finding(link, f"nothing is in {link.member}", f"write {link.type.value}, <member>, {link.member}")


def _finding(link: Link, message: str, fix: str) -> Finding:
    return Finding(link.place.path, link.place.line, 1, message, fix)


def _unknown(rule: Rule, message: str, fix: str) -> Finding:
    return Finding(rule.place.path, rule.place.line, 1, message, fix)
