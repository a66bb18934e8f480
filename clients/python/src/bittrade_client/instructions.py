"""Recurring plans, transfers and loans."""

from datetime import datetime
from typing import Any, TypedDict, Unpack

from bittrade_client.asking import Asking, Keys, when
from bittrade_client.models import Loan, LoanTerms, Plan, PlanRun, Transfer
from bittrade_client.money import Number, read_amount, read_units


class Pledge(TypedDict, total=False):
    """Collateral: `btc` or `satoshis`."""

    btc: Number | None
    satoshis: Number | None
    keys: Keys | None


class Instructions(Asking):
    """What goes on by itself, and what goes to others. Amounts as in Trading."""

    # --- recurring plans ------------------------------------------------------------------------------------------

    def create_plan(
        self,
        side: str,
        frequency: str,
        *,
        inr: Number | None = None,
        btc: Number | None = None,
        satoshis: Number | None = None,
        runs: int | None = None,
        max_price: int | None = None,
        min_price: int | None = None,
        start_at: datetime | None = None,
        time_zone: str | None = None,
        keys: Keys | None = None,
    ) -> Plan:
        """Begin a plan: the same buy or sell, HOURLY, DAILY, WEEKLY or MONTHLY, `runs` times or for ever."""
        amount = read_amount(inr=inr, btc=btc, satoshis=satoshis)
        body = {
            "plan_type": f"DCA_{side.upper()}",
            "frequency": frequency.upper(),
            f"amount_per_execution_{amount.currency}": amount.units,
            "remaining_executions": runs,
            "max_price": max_price,
            "min_price": min_price,
            "start_at": when(start_at),
            "time_zone": time_zone,
        }
        return Plan.parse(self._order("/api/dca-plans", body, keys).body["plan"])

    def plans(self) -> list[Plan]:
        """Return the user's plans."""
        return [Plan.parse(each) for each in self._get("/api/dca-plans")["plans"]]

    def plan_runs(self, plan_id: int, limit: int = 50) -> list[PlanRun]:
        """Return what became of a plan's due times, newest first."""
        answer = self._get(f"/api/dca-plans/{plan_id}/runs", limit=limit)
        return [PlanRun.parse(each) for each in answer["runs"]]

    def pause_plan(self, plan_id: int) -> Plan:
        """Let a plan rest."""
        return self._set_status(plan_id, "PAUSED")

    def resume_plan(self, plan_id: int) -> Plan:
        """Let it go on at its next due time."""
        return self._set_status(plan_id, "ACTIVE")

    def _set_status(self, plan_id: int, status: str) -> Plan:
        path = f"/api/dca-plans/{plan_id}/status"
        return Plan.parse(self._change("PATCH", path, {"status": status})["plan"])

    def end_plan(self, plan_id: int) -> None:
        """End a plan for good; its history stays."""
        self._change("DELETE", f"/api/dca-plans/{plan_id}")

    # --- transfers ------------------------------------------------------------------------------------------------

    def send(
        self,
        recipient_email: str,
        *,
        inr: Number | None = None,
        btc: Number | None = None,
        satoshis: Number | None = None,
        keys: Keys | None = None,
    ) -> Transfer:
        """Send rupees or bitcoin to another user, at once and for good."""
        amount = read_amount(inr=inr, btc=btc, satoshis=satoshis)
        body = {"recipientEmail": recipient_email, "amount": amount.text, "currency": amount.currency}
        reply = self._order("/api/send-transaction", body, keys)
        return Transfer.parse(reply.body, is_replay=reply.is_replay)

    # --- loans ----------------------------------------------------------------------------------------------------

    def loan_terms(self) -> LoanTerms:
        """Return what new loans are made on."""
        return LoanTerms.parse(self._get("/api/loans/terms"))

    def create_loan(
        self,
        *,
        borrow_inr: Number,
        btc: Number | None = None,
        satoshis: Number | None = None,
        keys: Keys | None = None,
    ) -> Loan:
        """Pledge bitcoin (`btc` or `satoshis`) and borrow rupees against it."""
        pledged = read_amount(btc=btc, satoshis=satoshis)
        body = {"collateral_btc": pledged.units, "borrow_inr": read_units(borrow_inr, "borrow_inr")}
        return self._loan("/api/loans", body, keys)

    def loans(self, status: str | None = None) -> list[Loan]:
        """Return the user's loans, newest first."""
        return [Loan.parse(each) for each in self._get("/api/loans", status=status)["loans"]]

    def loan(self, loan_id: int) -> Loan:
        """Return one loan with its LTV of now."""
        return Loan.parse(self._get(f"/api/loans/{loan_id}"))

    def borrow(self, loan_id: int, *, inr: Number, keys: Keys | None = None) -> Loan:
        """Borrow more on a loan."""
        return self._loan(f"/api/loans/{loan_id}/borrow", {"amount_inr": read_units(inr, "inr")}, keys)

    def repay(self, loan_id: int, *, inr: Number, keys: Keys | None = None) -> Loan:
        """Repay, interest first; no more is taken than is owed."""
        return self._loan(f"/api/loans/{loan_id}/repay", {"amount_inr": read_units(inr, "inr")}, keys)

    def add_collateral(self, loan_id: int, **pledge: Unpack[Pledge]) -> Loan:
        """Pledge more."""
        return self._collateral(f"/api/loans/{loan_id}/add-collateral", **pledge)

    def withdraw_collateral(self, loan_id: int, **pledge: Unpack[Pledge]) -> Loan:
        """Take collateral out, as far as the loan allows."""
        return self._collateral(f"/api/loans/{loan_id}/withdraw-collateral", **pledge)

    def _collateral(
        self,
        path: str,
        *,
        btc: Number | None = None,
        satoshis: Number | None = None,
        keys: Keys | None = None,
    ) -> Loan:
        return self._loan(path, {"collateral_btc": read_amount(btc=btc, satoshis=satoshis).units}, keys)

    def _loan(self, path: str, body: dict[str, Any], keys: Keys | None) -> Loan:
        reply = self._order(path, body, keys)
        return Loan.parse(reply.body, is_replay=reply.is_replay)
