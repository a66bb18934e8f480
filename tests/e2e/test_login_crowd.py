"""One address that asks for logins over 44 connections refuses them to nobody else. Judged by who is answered, not when."""

import http.client
import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.conftest import PASSWORD, Person, System, running_system

CROWD, HONEST, LOGINS_EACH = 44, 6, 3
CROWD_ADDRESS = "127.0.0.200"
PATIENCE_S = 300  # a guard against what hangs: the machine may be busy

pytestmark = pytest.mark.timeout(900)


def log_in(system: System, address: str, email: str, password: str) -> int:
    host, _, port = system.url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_S, source_address=(address, 0))
    try:
        body = json.dumps({"email": email, "password": password})
        connection.request("POST", "/api/auth/login", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def test_forty_four_connections_of_one_address_shut_nobody_out(scratch_database: str, redis_url: str) -> None:
    # The limits would stop the crowd sooner: here the queue of the hashes has to be fair by itself.
    with running_system(scratch_database, redis_url, BCRYPT_COST="10") as system:
        system.start_web()
        people = [system.new_person() for _ in range(HONEST)]
        is_over = threading.Event()
        crowd: Counter[int] = Counter()
        counted = threading.Lock()

        def ask_for_ever(number: int) -> None:
            while not is_over.is_set():
                status = log_in(system, CROWD_ADDRESS, f"nobody-{number}@example.com", "none of anybody's")
                with counted:
                    crowd[status] += 1

        def log_in_honestly(number: int, person: Person) -> list[int]:
            address = f"127.0.0.{10 + number}"
            return [log_in(system, address, person.email, PASSWORD) for _ in range(LOGINS_EACH)]

        with ThreadPoolExecutor(CROWD + HONEST) as threads:
            asking = [threads.submit(ask_for_ever, number) for number in range(CROWD)]
            try:
                while not crowd[503]:  # the crowd has filled its share of the queue
                    assert not is_over.wait(0.05)
                honest = list(threads.map(log_in_honestly, range(HONEST), people))
            finally:
                is_over.set()
            for one in asking:
                one.result()
    assert honest == [[200] * LOGINS_EACH] * HONEST
    assert set(crowd) == {401, 503}
