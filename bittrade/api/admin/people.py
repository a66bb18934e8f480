"""Accounts, for staff: finding them, all that support needs of one, and what may be done to it."""

from typing import Any

from flask import Blueprint

from bittrade.api.admin.access import BY_LATER_CLIENT, CHANGING, NOTING, PREFIX, READING
from bittrade.api.admin.answers import DoneAnswer, NoteAnswer, SupportAnswer, UsersAnswer
from bittrade.api.admin.schemas import ListQuery, NoteBody, ReasonBody, ReasonQuery, ResetPasswordBody
from bittrade.api.openapi import documented
from bittrade.api.security import current_user
from bittrade.errors import InvalidInput, StaffAccount, TooBusy, UserNotFound, WeakPassword
from bittrade.services.auth import staff
from bittrade.services.operators import notes, people, requesting

blueprint = Blueprint("admin_people", __name__, url_prefix=f"{PREFIX}/users")


@blueprint.get("")
@documented(UsersAnswer, **READING)
def list_users(query: ListQuery) -> Any:
    """Accounts, newest first."""
    return people.list_users(limit=query.limit, before_id=query.before_id, search=query.search)


@blueprint.get("/<int:user_id>")
@documented(SupportAnswer, UserNotFound, **READING)
def get_user(user_id: int) -> Any:
    """All that support needs of one account. The audit log keeps who looked."""
    return people.get_user(user_id)


@blueprint.delete("/<int:user_id>")
@documented(DoneAnswer, UserNotFound, StaffAccount, **CHANGING)
def disable_user(user_id: int, query: ReasonQuery) -> Any:
    """Shut an account and end its tokens and keys. Nothing is erased."""
    staff.disable(user_id, why=requesting.read_reason(query.reason or BY_LATER_CLIENT))
    return {"success": True, "message": "User disabled"}


@blueprint.post("/<int:user_id>/enable")
@documented(DoneAnswer, UserNotFound, StaffAccount, **CHANGING)
def enable_user(user_id: int, json: ReasonBody) -> Any:
    """Open a shut account again. Its old tokens stay ended."""
    staff.enable(user_id, why=requesting.read_reason(json.reason))
    return {"success": True, "message": "User enabled"}


@blueprint.post("/<int:user_id>/unlock")
@documented(DoneAnswer, UserNotFound, **CHANGING)
def unlock_user(user_id: int, json: ReasonBody) -> Any:
    """Lift the locks that failed logins have put on an account."""
    staff.unlock(user_id, why=requesting.read_reason(json.reason))
    return {"success": True, "message": "User unlocked"}


@blueprint.put("/<int:user_id>/password")
@documented(DoneAnswer, UserNotFound, StaffAccount, WeakPassword, TooBusy, **CHANGING)
def set_password(user_id: int, json: ResetPasswordBody) -> Any:
    """Give an account a new password; its tokens and keys end. A refusal says why as `message`, too."""
    why = requesting.read_reason(json.reason or BY_LATER_CLIENT)
    try:
        staff.set_password(user_id, json.password, why=why)
    except (InvalidInput, StaffAccount) as refusal:
        refusal.facts["message"] = refusal.message
        raise
    return {"success": True, "message": "Password changed"}


@blueprint.post("/<int:user_id>/notes")
@documented(NoteAnswer, UserNotFound, status=201, **NOTING)
def add_note(user_id: int, json: NoteBody) -> Any:
    """Write down something about an account, for staff to read."""
    return notes.add_note(current_user(), user_id, json.note), 201
