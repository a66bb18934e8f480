"""Run by test_where_tests_run.py in a pytest of its own, hence the name that pytest does not collect."""

import os

import pytest
import redis
from sqlalchemy import create_engine, text

import config


def test_the_run_has_a_database_of_its_own(database_url):
    assert os.environ["DATABASE_URL"] == database_url
    with create_engine(database_url).connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1


def test_each_kind_has_another_one(sqlite_url, mariadb_url, database_url):
    assert len({sqlite_url, mariadb_url, database_url}) == 3


def test_there_is_a_redis(redis_url):
    assert os.environ["REDIS_URL"] == redis_url
    assert redis.Redis.from_url(redis_url).ping()


def test_nothing_of_the_developers_leaks_in():
    assert os.environ["BITTRADE_ENV"] == "testing"
    assert os.environ["COINGECKO_API_URL"].startswith("http://127.0.0.1:9/")
    assert os.environ["JWT_SECRET"] != "of-the-developer"
    assert "DB_PASSWORD" not in os.environ


def test_nor_does_their_dotenv_file(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("DB_POOL_SIZE=7\n")
    monkeypatch.chdir(tmp_path)
    assert config.load().DB_POOL_SIZE != 7
    assert config.load(BITTRADE_ENV="development").DB_POOL_SIZE != 7


@pytest.mark.needs("a-program-that-nobody-has")
def test_that_cannot_run_here():
    pass
