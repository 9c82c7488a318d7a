"""What is wrong with a policy, said so that it can be put right."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """`line` and `column` count from 1; 0 where the whole file is meant."""

    path: str
    line: int
    column: int
    message: str
    fix: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}:{self.column}" if self.line else self.path
        return f"{place}: {self.message}; fix: {self.fix}"


class PolicyInvalid(Exception):
    """A policy that is refused as a whole. Holds every finding, in the order of files and lines."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__("\n".join(map(str, findings)))
        self.findings = findings
