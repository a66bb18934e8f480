"""What the bodies about accounts, sessions and keys look like, and what answers do; a part of `schemas`."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from bittrade.api.schemas import Answer, BigCount, Body, Count, Message, Query, Text
from bittrade.domain.names import is_readable
from bittrade.services import api_keys


class RegisterBody(Body):
    email: Text
    password: Text
    name: Text
    confirmPassword: Text | None = Field(None, description="must match `password` if sent")


class LoginBody(Body):
    email: Text
    password: Text


class PasswordBody(Body):
    current_password: Text = Field(alias="currentPassword")
    new_password: Text = Field(alias="newPassword")


class ProfileBody(Body):
    current_password: Text = Field(alias="currentPassword")
    email: Text | None = None
    name: Text | None = None


class NewNameBody(Body):
    name: Text
    current_password: Text = Field(alias="currentPassword")


class NewEmailBody(Body):
    email: Text
    current_password: Text = Field(alias="currentPassword")


class NewPasswordBody(PasswordBody):
    confirm_password: Text | None = Field(
        None, alias="confirmPassword", description="must match `newPassword` if sent"
    )


class KeyBody(Body):
    name: str = Field(max_length=100, description="for you, to know it by")
    scopes: list[Literal["read", "trade", "export", "transfer", "loan"]] = Field(min_length=1, max_length=5)
    expires_in_days: int = Field(api_keys.DEFAULT_DAYS, ge=1, le=api_keys.MAX_DAYS)
    addresses: list[Annotated[str, Field(max_length=64)]] = Field(
        [],
        max_length=api_keys.MAX_NETWORKS,
        description="only from these addresses or networks; empty is anywhere",
        examples=[["203.0.113.7", "2001:db8::/32"]],
    )

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        if not is_readable(name.strip()):
            raise ValueError("Input should be printable")
        return name.strip()


class ActivityQuery(Query):
    limit: Count = Field(50, ge=1, le=200)
    before_id: BigCount | None = Field(None, ge=1, description="cursor: `next_before_id` of the page before")


class UserAnswer(Answer):
    id: int
    email: str
    name: str
    is_admin: Literal[0, 1]
    role: Literal["user", "support", "admin"]


class TokenAnswer(Answer):
    message: str
    token: str
    user: UserAnswer


class VerifyAnswer(Answer):
    valid: Literal[True]
    user: UserAnswer


class SessionAnswer(Answer):
    id: str
    device: str | None = Field(description="what it calls itself (User-Agent)")
    address: str | None
    issued_at: str
    last_seen_at: str = Field(description="to the minute")
    expires_at: str
    current: bool = Field(description="the one that asks")


class SessionsAnswer(Answer):
    sessions: list[SessionAnswer]


class ProfileAnswer(Answer):
    message: str
    user: UserAnswer


class UserProfileAnswer(Answer):
    user: UserAnswer


class NameChangedAnswer(Message):
    name: str


class EmailChangedAnswer(Message):
    email: str


class KeyAnswer(Answer):
    id: int
    name: str
    prefix: str = Field(description="how the key begins")
    scopes: list[str]
    addresses: list[str]
    created_at: str
    expires_at: str
    last_used_at: str | None = Field(description="to the minute")
    last_used_address: str | None


class NewKeyAnswer(KeyAnswer):
    key: str = Field(description="send it as `Authorization: Bearer bt_…`; shown this once")


class KeysAnswer(Answer):
    keys: list[KeyAnswer]


class EventAnswer(Answer):
    id: int
    at: str
    action: str
    by: Literal["owner", "staff", "unknown"]
    address: str | None
    facts: dict[str, Any]


class ActivityAnswer(Answer):
    events: list[EventAnswer]
    hasMore: bool
    next_before_id: int | None
