"""E-mail addresses: as their owner writes them, and the one spelling that an account is known by."""

from email_validator import EmailNotValidError, validate_email

from bittrade.errors import InvalidInput

MAX_LENGTH = 254


def read_email(email: str) -> tuple[str, str]:
    """As written, and as compared. Raises InvalidInput."""
    try:
        checked = validate_email(
            email.strip(), check_deliverability=False, allow_smtputf8=False, test_environment=True
        )
    except (EmailNotValidError, UnicodeError) as error:
        raise InvalidInput("Invalid email address", field="email") from error
    normalized = (checked.ascii_email or "").lower()
    if not normalized or len(checked.normalized) > MAX_LENGTH:
        raise InvalidInput("Invalid email address", field="email")
    return checked.normalized, normalized


def normalize_email(email: object) -> str | None:
    """The one spelling that an account is known by; None for what is no e-mail."""
    try:
        return read_email(email)[1] if isinstance(email, str) else None
    except InvalidInput:
        return None
