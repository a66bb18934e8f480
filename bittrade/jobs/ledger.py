"""The books."""

from bittrade.jobs.alone import alone
from bittrade.services import halt


@alone
def verify() -> str:
    """Prove the books, and halt trading where they are wrong."""
    proof = halt.verify_or_halt()
    faults = f"{len(proof.faults)} FAULTS" if proof.faults else "right"
    return f"{faults}: {proof.transactions} transactions, {proof.legs} legs, {proof.balances} balances"
