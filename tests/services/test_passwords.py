"""Passwords: which may be chosen, and that all of each one matters."""

import unicodedata
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import bcrypt
import pytest
from flask import Flask
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from bittrade.errors import InvalidInput, TooBusy, WeakPassword
from bittrade.services import audit, passwords
from bittrade.services.audit import Origin
from bittrade.services.fair_queue import FairQueue
from tests.fixtures import wait_until

pytestmark = pytest.mark.usefixtures("inside")
WHO = {"email": "somebody@example.com", "name": "Some Body Else"}


@pytest.mark.parametrize(
    "password",
    [
        "exactly10!",
        "x y z 1 2 3 4 5",
        "  spaces at both ends  ",
        "пароль из слов",
        "密码密码密码密码密码密",
        "\U0001f511" * 64,
        "e\u0301" * 20,
        "with\x00nul and\nnewline",
        "a" * 256,
    ],
)
def test_any_characters_make_a_password_and_it_is_told_from_another(password: str) -> None:
    passwords.check_new(password, **WHO)
    hashed = passwords.hash_password(password)
    assert passwords.matches(password, hashed)
    assert not passwords.matches(password + "x", hashed)
    assert not passwords.matches(password[:-1], hashed)
    assert not passwords.matches(password.strip() + " ", hashed)


def test_the_sixty_fourth_of_64_emoji_matters() -> None:
    password = "\U0001f511" * 64  # 256 bytes: bcrypt alone would read 72 of them, and today refuses more
    hashed = passwords.hash_password(password)
    assert passwords.matches(password, hashed)
    assert not passwords.matches("\U0001f511" * 63 + "\U0001f512", hashed)


@pytest.mark.parametrize("length", [71, 72, 73, 74, 200])
def test_bytes_around_and_beyond_bcrypt_s_72_all_matter(length: int) -> None:
    password = "p" * length
    hashed = passwords.hash_password(password)
    assert passwords.matches(password, hashed)
    assert not passwords.matches("p" * (length - 1) + "q", hashed)
    assert not passwords.matches("p" * (length - 1), hashed)


def test_bcrypt_alone_would_have_refused_what_the_prehash_makes_fit() -> None:
    with pytest.raises(ValueError, match="72"):
        bcrypt.hashpw(b"p" * 73, bcrypt.gensalt(4))


def test_one_password_typed_on_two_keyboards_is_one_password() -> None:
    composed, decomposed = unicodedata.normalize("NFC", "é" * 12), unicodedata.normalize("NFD", "é" * 12)
    assert composed != decomposed
    assert passwords.matches(decomposed, passwords.hash_password(composed))


@pytest.mark.parametrize("password", ["", "short", "nine char", "x" * 257, "\U0001f511" * 9])
def test_a_password_has_10_to_256_characters(password: str) -> None:
    with pytest.raises(InvalidInput, match="10 to 256"):
        passwords.check_new(password, **WHO)


def long_common_passwords() -> list[str]:
    return [word for word in FREQUENCY_LISTS["passwords"][:3000] if len(word) >= passwords.MIN_LENGTH]


@pytest.mark.parametrize("password", [*long_common_passwords()[:20], "1234567890".upper(), "QwErTyUiOp"])
def test_a_common_password_is_refused_in_any_case(password: str) -> None:
    with pytest.raises(WeakPassword):
        passwords.check_new(password, **WHO)


@pytest.mark.parametrize(
    "password",
    ["somebody@example.com", "SomeBody@Example.com", "some body else", "SOME BODY ELSE", "i love BitTrade"],
)
def test_one_s_own_email_or_name_and_the_house_s_name_are_refused(password: str) -> None:
    with pytest.raises(WeakPassword):
        passwords.check_new(password, **WHO)


def test_one_s_own_mailbox_name_is_refused() -> None:
    with pytest.raises(WeakPassword):
        passwords.check_new("a.long.mailbox", email="a.long.mailbox@example.com", name="X")


def test_two_hashes_of_one_password_differ_and_name_their_scheme() -> None:
    one, other = passwords.hash_password("the same words"), passwords.hash_password("the same words")
    assert one != other
    assert one.startswith("bt1$$2b$04$")


def test_without_a_hash_nothing_matches() -> None:
    assert not passwords.matches("anything at all", None)
    assert not passwords.matches("nobody", None)


def test_a_cheaper_hash_than_configured_is_outdated(inside: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = passwords.hash_password("the same words")
    assert not passwords.is_outdated(hashed)
    monkeypatch.setitem(inside.config, "BCRYPT_COST", 5)
    assert passwords.is_outdated(hashed)
    assert passwords.matches("the same words", hashed)


def test_a_network_s_hashes_beyond_its_share_are_refused_and_another_s_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = FairQueue(at_once=1, waiting=2, waiting_each=1)
    monkeypatch.setattr(passwords, "_queue", lambda: queue)
    audit.origin.set(Origin(address="203.0.113.7"))
    with ThreadPoolExecutor(2) as threads, queue.turn("203.0.113.7"):
        waits = threads.submit(copy_context().run, passwords.matches, "one", None)
        wait_until(lambda: bool(queue._lines))
        with pytest.raises(TooBusy):
            passwords.matches("one too many", None)
        audit.origin.set(Origin(address="203.0.113.8"))
        another = threads.submit(copy_context().run, passwords.matches, "of another", None)
        wait_until(lambda: len(queue._lines) == 2)
    audit.origin.set(Origin())
    assert (waits.result(timeout=60), another.result(timeout=20)) == (False, False)


def test_no_more_hashes_wait_than_a_person_would() -> None:
    assert passwords.MAX_WAITING_OF_A_NETWORK < passwords.MAX_WAITING <= 24
    assert passwords._queue()._waiting == passwords.MAX_WAITING
    assert passwords._queue()._waiting_each == passwords.MAX_WAITING_OF_A_NETWORK


def test_all_hashes_of_a_process_wait_in_one_queue_for_one_thread() -> None:
    assert passwords._queue() is passwords._queue()
    assert passwords._pool() is passwords._pool()


def test_letters_that_only_look_alike_make_two_passwords() -> None:
    """NFKC would make ﬁ into fi and ² into 2, and so of many passwords one."""
    for one, other in (("ﬁrst of ten words", "first of ten words"), ("ten squared ²²²", "ten squared 222")):
        assert unicodedata.normalize("NFKC", one) == other
        assert not passwords.matches(other, passwords.hash_password(one))


def test_a_hash_that_cost_more_than_is_configured_is_kept(
    inside: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(inside.config, "BCRYPT_COST", 5)
    hashed = passwords.hash_password("the same words")
    monkeypatch.setitem(inside.config, "BCRYPT_COST", 4)
    assert not passwords.is_outdated(hashed)


@pytest.mark.parametrize("password", ["plain words", "пароль", "a\x00b", "ä" * 40, "x" * 200])
def test_a_hash_that_was_imported_is_bcrypt_over_the_password_itself(password: str) -> None:
    for prefix in (b"$2a$", b"$2b$", b"$2y$"):
        hashed = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).replace(b"$2b$", prefix).decode()
        assert passwords.matches(password, hashed)
        assert not passwords.matches("y" + password, hashed)
        assert passwords.is_outdated(hashed)


@pytest.mark.parametrize("hashed", ["!", None])
def test_what_is_no_hash_matches_nothing(hashed: str | None) -> None:
    assert not passwords.matches("nobody", hashed)
    assert not passwords.matches("!", hashed)
