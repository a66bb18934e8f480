"""Keys for programs. A person makes and revokes them; no key can."""

from typing import Any

from flask import Blueprint

from bittrade.api import limits
from bittrade.api.account_schemas import KeyBody, KeysAnswer, NewKeyAnswer
from bittrade.api.openapi import documented
from bittrade.api.schemas import Message
from bittrade.api.security import current_user
from bittrade.errors import KeyNotFound, TooManyKeys
from bittrade.services import api_keys
from bittrade.services.auth import ACCOUNT

blueprint = Blueprint("keys", __name__, url_prefix="/api/keys")


@blueprint.post("")
@documented(
    NewKeyAnswer,
    TooManyKeys,
    status=201,
    limit=limits.WRITE,
    needs_token=True,
    scope=(ACCOUNT,),
    tag="account",
)
def create_key(json: KeyBody) -> Any:
    """Make a key for a program. Only this answer ever shows it."""
    key = api_keys.create_key(
        current_user().user_id,
        name=json.name,
        scopes=json.scopes,
        days=json.expires_in_days,
        addresses=json.addresses,
    )
    return key, 201


@blueprint.get("")
@documented(KeysAnswer, needs_token=True, scope=(ACCOUNT,), tag="account")
def list_keys() -> Any:
    """The keys that work now, with their last use."""
    return {"keys": api_keys.list_keys(current_user().user_id)}


@blueprint.delete("/<int:key_id>")
@documented(Message, KeyNotFound, limit=limits.WRITE, needs_token=True, scope=(ACCOUNT,), tag="account")
def revoke_key(key_id: int) -> Any:
    """End a key, at once and everywhere."""
    api_keys.revoke_key(current_user().user_id, key_id)
    return {"message": "API key revoked"}
