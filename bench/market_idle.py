"""What an idle BitTrade costs: processor time and bytes a minute of the worker and the scheduler, and of one price job.

    python -m bench.market_idle --seconds 120

Runs both programs against the simulator, a SQLite file and an embedded Redis for a while in which nobody asks for anything.
Bytes are what the price sources sent and got (bodies and headers as they cross loopback), not Redis or the database.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from flask_migrate import upgrade

import config
from bittrade import create_app
from bittrade.services import market
from dev.services import embedded_redis
from dev.simulator import Simulator, running_simulator

ROOT = Path(__file__).resolve().parent.parent
WARM_UP_S = 12


def cpu_s(process: psutil.Process) -> float:
    """Its own and its ended children's: each job is a child."""
    times = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def measure_idle(environment: dict[str, str], simulator: Simulator, seconds: float) -> dict[str, float]:
    programs = {
        name: psutil.Popen([sys.executable, "worker.py", *arguments], env=environment, cwd=ROOT)
        for name, arguments in {"worker": [], "scheduler": ["scheduler"]}.items()
    }
    try:
        time.sleep(WARM_UP_S)
        before, counted = {name: cpu_s(program) for name, program in programs.items()}, simulator.requests()
        began = time.monotonic()
        time.sleep(seconds)
        minutes = (time.monotonic() - began) / 60
        figures = {
            f"{name}: CPU ms/minute": (cpu_s(program) - before[name]) * 1000 / minutes
            for name, program in programs.items()
        }
        memory = {f"{name}: RSS MB": program.memory_info().rss / 1e6 for name, program in programs.items()}
        return figures | memory | {"upstream calls/minute": (simulator.requests() - counted) / minutes}
    finally:
        for program in programs.values():
            program.terminate()
        for program in programs.values():
            try:
                program.wait(10)
            except subprocess.TimeoutExpired:
                program.kill()


def measure_job(environment: dict[str, str], simulator: Simulator, times: int = 30) -> dict[str, float]:
    """One price update without the fork: CPU of this process, and bytes of one answer with its headers."""
    names = ("BITTRADE_ENV", "DATABASE_URL", "REDIS_URL", "JWT_SECRET", *simulator.settings)
    settings = {name: environment[name] for name in names} | {"COINGECKO_CALLS_PER_MINUTE": 10_000}
    with create_app(config.load(**settings)).app_context():
        market.update_price()
        began = time.process_time()
        for _ in range(times):
            market.update_price()
        cpu_ms = (time.process_time() - began) * 1000 / times
    return {"one price update: CPU ms": cpu_ms}


def measure_bytes(simulator: Simulator) -> dict[str, float]:
    """On the wire for one price, as HTTP/1.1 without TLS; a handshake adds about 5,000."""
    import requests

    sizes = {}
    for name, url in {
        "coingecko": f"{simulator.coingecko_url}/coins/markets?vs_currency=usd&ids=bitcoin",
        "coinbase": f"{simulator.coinbase_url}/products/BTC-USD/ticker",
        "kraken": f"{simulator.kraken_url}/Trades?pair=XBTUSD&count=1",
    }.items():
        answer = requests.get(url, timeout=5)
        headers = sum(len(key) + len(value) + 4 for key, value in answer.headers.items())
        sent = len(answer.request.path_url) + sum(
            len(key) + len(str(value)) + 4 for key, value in answer.request.headers.items()
        )
        sizes[f"{name}: bytes for one price"] = float(len(answer.content) + headers + sent)
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.market_idle", description="An idle system's cost.")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--interval", type=int, default=30, help="PRICE_INTERVAL_S")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_redis() as redis,
        running_simulator() as simulator,
    ):
        environment = os.environ | {
            "BITTRADE_ENV": "testing",
            "FLASK_SKIP_DOTENV": "1",
            "DATABASE_URL": f"sqlite:///{folder}/idle.db",
            "REDIS_URL": redis.url,
            "JWT_SECRET": "bench-" + "0123456789abcdef" * 2,
            "PRICE_INTERVAL_S": str(options.interval),
            "LOG_LEVEL": "ERROR",
            **simulator.settings,
        }
        os.environ["LOG_LEVEL"] = "ERROR"
        names = ("BITTRADE_ENV", "DATABASE_URL", "REDIS_URL", "JWT_SECRET")
        with create_app(config.load(**{name: environment[name] for name in names})).app_context():
            upgrade(directory=str(ROOT / "migrations"))
        figures = measure_idle(environment, simulator, options.seconds)
        figures |= measure_job(environment, simulator) | measure_bytes(simulator)
        calls = figures["upstream calls/minute"]
        figures["upstream bytes/minute"] = calls * figures["coingecko: bytes for one price"]
    for name, value in figures.items():
        print(f"{name:34} {value:10.1f}")


if __name__ == "__main__":
    main()
