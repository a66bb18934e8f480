"""Accounts: logging in, the profile, sessions, keys for programs, and what happened."""

from collections.abc import Iterator, Sequence

from bittrade_client.asking import Asking
from bittrade_client.models import Activity, ApiKey, Session, User


class Account(Asking):
    """Who is asking. Logging in and registering keep the token that they bring."""

    @property
    def token(self) -> str | None:
        return self._transport.token

    def login(self, email: str, password: str) -> User:
        """Log in: the token is good for 24 hours. Raises InvalidCredentials or AccountLocked."""
        return self._enter("/api/auth/login", {"email": email, "password": password})

    def register(self, email: str, password: str, name: str) -> User:
        """Open an account. Raises EmailTaken, WeakPassword or InvalidInput."""
        return self._enter("/api/auth/register", {"email": email, "password": password, "name": name})

    def _enter(self, path: str, body: dict[str, str]) -> User:
        answer = self._do_once(path, body)
        user = User.parse(answer["user"])
        self._transport.token = answer["token"]
        return user

    def logout(self) -> None:
        """End this token."""
        self._do_once("/api/auth/logout")
        self._transport.token = None

    def logout_all(self) -> None:
        """End all of the user's tokens and keys."""
        self._do_once("/api/auth/logout-all")
        self._transport.token = None

    def verify(self) -> User:
        """Return whose the token is. Raises TokenMissing or TokenInvalid."""
        return User.parse(self._get("/api/auth/verify")["user"])

    def profile(self) -> User:
        """Return the user."""
        return User.parse(self._get("/api/user/profile")["user"])

    def change_name(self, name: str, *, current_password: str) -> str:
        """Change the name; return it as it is kept."""
        body = {"name": name, "currentPassword": current_password}
        return str(self._change("PUT", "/api/user/profile/name", body)["name"])

    def change_email(self, email: str, *, current_password: str) -> str:
        """Change the e-mail; return it as it is kept."""
        body = {"email": email, "currentPassword": current_password}
        return str(self._change("PUT", "/api/user/profile/email", body)["email"])

    def change_password(self, new: str, *, current_password: str) -> None:
        """Change the password: every other session and every key ends."""
        self._do_once("/api/auth/password", {"currentPassword": current_password, "newPassword": new})

    def sessions(self) -> list[Session]:
        """Return where the account is logged in."""
        return [Session.parse(each) for each in self._get("/api/auth/sessions")["sessions"]]

    def end_session(self, session_id: str) -> None:
        """Log one of them out."""
        self._change("DELETE", f"/api/auth/sessions/{session_id}")

    def api_keys(self) -> list[ApiKey]:
        """Return the keys that work now."""
        return [ApiKey.parse(each) for each in self._get("/api/keys")["keys"]]

    def create_api_key(
        self, name: str, scopes: Sequence[str], *, expires_in_days: int = 90, addresses: Sequence[str] = ()
    ) -> ApiKey:
        """Make a key for a program; `key` in the answer is shown this once. Scopes: read, trade, export, transfer, loan."""
        body = {
            "name": name,
            "scopes": list(scopes),
            "expires_in_days": expires_in_days,
            "addresses": list(addresses),
        }
        return ApiKey.parse(self._do_once("/api/keys", body))

    def revoke_api_key(self, key_id: int) -> None:
        """End a key."""
        self._change("DELETE", f"/api/keys/{key_id}")

    def activity(self) -> Iterator[Activity]:
        """Give all that happened to the account, newest first."""
        for each in self._pages("/api/account/activity", "events", {}, "before_id"):
            yield Activity.parse(each)
