"""See tests/proofs/ledger_and_limits.py."""

from hypothesis import settings

from tests.proofs.ledger_and_limits import LedgerAndLimits

LedgerAndLimits.TestCase.settings = settings(max_examples=50, stateful_step_count=60)
TestLedgerAndLimits = LedgerAndLimits.TestCase
