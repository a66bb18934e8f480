"""Examples in the API's document: one body for each schema and one value for each part of a path, as `make run` takes them.

A test sends each of them. It must not know what the handlers do.
"""

from typing import Any

Document = dict[str, Any]

DEMO = {"email": "demo@bittrade.test", "password": "paper-rupees-only-42"}  # make run's, and printed there
NEW_WORDS = "four green parrots whistle"
REASON = {"reason": "asked for by phone"}
BODIES: dict[str, dict[str, Any]] = {
    "RegisterBody": {"email": "asha@example.com", "password": NEW_WORDS, "name": "Asha"},
    "LoginBody": DEMO,
    "PasswordBody": {"currentPassword": DEMO["password"], "newPassword": NEW_WORDS},
    "ProfileBody": {"currentPassword": DEMO["password"], "name": "Asha"},
    "NewNameBody": {"currentPassword": DEMO["password"], "name": "Asha"},
    "NewEmailBody": {"currentPassword": DEMO["password"], "email": "asha@example.com"},
    "NewPasswordBody": {
        "currentPassword": DEMO["password"],
        "newPassword": NEW_WORDS,
        "confirmPassword": NEW_WORDS,
    },
    "KeyBody": {"name": "a bot that reads", "scopes": ["read"], "expires_in_days": 30},
    "TradeBody": {"action": "buy", "type": "market", "amount": "1000", "currency": "inr"},
    "OrderBody": {
        "side": "buy",
        "type": "limit",
        "limit_price": 4000000,
        "amount": "1000",
        "currency": "inr",
    },
    "PlanBody": {"plan_type": "DCA_BUY", "frequency": "DAILY", "amount_per_execution_inr": 500},
    "PlanStatusBody": {"status": "PAUSED"},
    "TransferBody": {"recipientEmail": "asha@example.com", "amount": 100, "currency": "inr"},
    "NewLoanBody": {"collateral_btc": 100000, "borrow_inr": 1000},
    "LoanAmountBody": {"amount_inr": 100},
    "LoanCollateralBody": {"collateral_btc": 1000},
    "CashBody": {"amount": 1000, **REASON},
    "BitcoinBody": {"amount": 50000, **REASON},
    "OptionalReasonBody": REASON,
    "ReasonBody": REASON,
    "ResetPasswordBody": {"password": NEW_WORDS, **REASON},
    "NoteBody": {"note": "asked how to withdraw"},
    "SettingsBody": {"settings": {"buy_multiplier": 91, "sell_multiplier": 88}, **REASON},
    "TradingBody": {"action": "resume", **REASON},
}
PATH_PARTS: dict[str, Any] = {"timeframe": "1d", "session_id": "0123456789abcdef0123456789abcdef"}
SOME_ID = 1
MAY_BE_MISSING = ("OptionalReasonBody",)
KEY_REFUSAL = "invalid_idempotency_key"
KEY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "1 to 255 visible ASCII characters: what is repeated with the same one is done once",
    "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"},
}


def add_to(document: Document) -> Document:
    """Give each operation its examples, and the header that makes it safe to repeat where it takes one."""
    for item in document["paths"].values():
        for operation in item.values():
            _add_body(operation)
            for part in operation.get("parameters", []):
                if part["in"] == "path":
                    part["example"] = PATH_PARTS.get(part["name"], SOME_ID)
            if KEY_REFUSAL in operation["responses"].get("400", {}).get("description", ""):
                operation["parameters"] = [*operation.get("parameters", []), KEY_PARAMETER]
    return document


def _add_body(operation: dict[str, Any]) -> None:
    if "requestBody" not in operation:
        return
    content = operation["requestBody"]["content"]["application/json"]
    schema = content["schema"]["$ref"].rpartition("/")[2]
    if schema in BODIES:
        content["example"] = BODIES[schema]
    operation["requestBody"]["required"] = schema not in MAY_BE_MISSING
