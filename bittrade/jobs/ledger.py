"""The books."""

from bittrade.jobs.alone import alone
from bittrade.services import halt, ledger
from bittrade.services.ledger import Proof


@alone
def verify() -> str:
    """Prove what is new in the books, and halt trading where they are wrong."""
    return _outcome(halt.verify_or_halt(is_whole=False))


@alone
def verify_whole() -> str:
    """Prove the books from the first transaction on, and halt trading where they are wrong."""
    return _outcome(halt.verify_or_halt())


@alone
def digest() -> str:
    """Note the hash of all chains, in the audit log and in this process' log."""
    return f"sha256 {ledger.note_digest()}"


def _outcome(proof: Proof) -> str:
    faults = f"{len(proof.faults)} FAULTS" if proof.faults else "right" if proof.is_complete else "UNFINISHED"
    return f"{faults}: {proof.transactions} transactions, {proof.legs} legs, {proof.balances} balances"
