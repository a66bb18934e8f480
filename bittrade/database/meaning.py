"""What a database's error means for whoever asked: again at once, later, elsewhere, not with this login, or a bug.

The numbers are those of the servers' own lists (MariaDB 10.11's errmsg-utf8.txt, MySQL 9's mysqld_error.h), gone through
one by one. A number in none of these sets is a bug of ours: a broken rule, a wrong statement, a value that does not fit.
"""

import sqlite3
from enum import Enum, auto

import pymysql
from sqlalchemy import exc


class Meaning(Enum):
    """What to do about an error."""

    RETRY = auto()  # nothing was done, and the same work may succeed at once
    LATER = auto()  # the server is well, and could not do this now: a time limit, too much at a time
    STORAGE = auto()  # the server can't store or read: a full disk, a damaged table
    AWAY = auto()  # this connection leads to a server that can't serve: take another
    REFUSED = auto()  # the server does not let us in, or not do this: its operator has to act
    BUG = auto()


_RETRY = {
    1020,  # record changed since last read
    1205,  # lock wait time-out
    1213,  # deadlock; Galera's conflict between nodes
    1402,  # XA: rolled back
    1412,  # table definition changed
    1613,  # XA: took too long
    1614,  # XA: deadlock
    1615,  # statement needs to be prepared anew
    1689,  # wait on a lock was aborted
    3058,  # deadlock of user-level locks
    3101,  # MySQL group replication: rolled back during COMMIT, a conflict between members
    3132,  # deadlock of the locking service
    3197,  # XA: retry
    3572,  # NOWAIT, and the row is locked
}
_LATER = {
    *(1028, 1317, 1931, 1969, 3024, 3133, 3699),  # interrupted, or its time is over
    *(1037, 1038, 1041, 1135, 1257, 3015, 3044, 3985),  # no memory, no thread
    *(
        1206,
        1223,
        1461,
        1587,
        1637,
        3230,
    ),  # too many locks, statements, files, transactions; a lock that conflicts
    *(1105, 1297, 1815),  # "unknown", "temporary", "internal": nothing that we could have done otherwise
    *(1964, 3100),  # a commit that this one waited for, or a hook of replication, failed
}
_STORAGE = {
    *(
        1004,
        1015,
        1016,
        1017,
        1018,
        1023,
        1024,
        1026,
        1039,
        1388,
    ),  # a file: create, lock, open, find, read, write
    *(
        1021,
        1114,
        1197,
        1534,
        1598,
        1705,
        1878,
        3019,
        3675,
        4139,
    ),  # full: disk, table, binary log, undo, index
    *(1030, 1180, 1181, 1182, 1296, 1467),  # the storage engine's own, ENOSPC among them
    *(1033, 1034, 1035, 1194, 1195, 1707, 1712, 1728, 1817, 1877, 3000),  # damaged
    *(1812, 1814, 1932, 3003, 3510, 4182),  # a tablespace or an engine that is missing
}
_AWAY = {
    *(1036, 1290, 1792, 1836, 1874, 3989),  # read-only
    1047,  # Galera: not ready, no quorum
    *(1053, 1077, 1078, 1079, 1080, 3032),  # shutting down, offline
    *(1152, 1184, 1927, 3169),  # aborted, killed
    *(1154, 1155, 1156, 1157, 1158, 1159, 1160, 1161, 1835, 3068, 4075),  # the wire, or what came over it
}
_REFUSED = {
    *(1040, 1203, 1226),  # too many connections
    *(1042, 1129, 1130, 1131),  # our host
    *(1044, 1045, 1142, 1143, 1227, 1370, 1698, 3879, 4150, 4151),  # login or privilege
    *(1043, 1251, 1275, 1524, 1862, 1820, 1873, 3118, 3159, 3202, 3955),  # how to log in
    *(1046, 1049, 1146),  # no such database, or its tables were not made
}
_MEANING = {
    number: meaning
    for meaning, numbers in (
        (Meaning.RETRY, _RETRY),
        (Meaning.LATER, _LATER),
        (Meaning.STORAGE, _STORAGE),
        (Meaning.AWAY, _AWAY),
        (Meaning.REFUSED, _REFUSED),
    )
    for number in numbers
}
_DRIVERS_OWN = range(2000, 3000)  # not reached, gone, out of step
_PROXYS_OWN = range(9000, 10_000)  # ProxySQL: no server behind it answers
_LOGIN_PLUGIN = (2049, 2059, 2061)

# The low byte of SQLite's result codes.
_SQLITE_MEANING = {
    sqlite3.SQLITE_BUSY: Meaning.RETRY,
    sqlite3.SQLITE_LOCKED: Meaning.RETRY,
    sqlite3.SQLITE_SCHEMA: Meaning.RETRY,
    sqlite3.SQLITE_INTERRUPT: Meaning.LATER,
    sqlite3.SQLITE_NOMEM: Meaning.LATER,
    sqlite3.SQLITE_PROTOCOL: Meaning.LATER,
    sqlite3.SQLITE_FULL: Meaning.STORAGE,
    sqlite3.SQLITE_IOERR: Meaning.STORAGE,
    sqlite3.SQLITE_CORRUPT: Meaning.STORAGE,
    sqlite3.SQLITE_NOTADB: Meaning.STORAGE,
    sqlite3.SQLITE_NOLFS: Meaning.STORAGE,
    sqlite3.SQLITE_READONLY: Meaning.AWAY,
    sqlite3.SQLITE_CANTOPEN: Meaning.AWAY,
    sqlite3.SQLITE_PERM: Meaning.REFUSED,
    sqlite3.SQLITE_AUTH: Meaning.REFUSED,
}


def meaning_of(error: BaseException | None) -> Meaning:
    """Return what an error of the driver, or SQLAlchemy's wrapping of it, means."""
    if isinstance(error, exc.TimeoutError):  # no connection of the pool came free
        return Meaning.LATER
    if isinstance(error, exc.DBAPIError):
        return Meaning.AWAY if error.connection_invalidated else meaning_of(error.orig)
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error)
    if isinstance(error, pymysql.MySQLError):
        return _of_mysql(error)
    return Meaning.BUG


def _of_mysql(error: pymysql.MySQLError) -> Meaning:
    number = error.args[0] if error.args else None
    if not isinstance(number, int) or number < 1000:
        # The driver's own words: a packet out of sequence, a connection that was closed.
        is_lost = isinstance(error, pymysql.InternalError | pymysql.InterfaceError | pymysql.OperationalError)
        return Meaning.AWAY if is_lost else Meaning.BUG
    if number in _LOGIN_PLUGIN:
        return Meaning.REFUSED
    if number in _DRIVERS_OWN or number in _PROXYS_OWN:
        return Meaning.AWAY
    return _MEANING.get(number, Meaning.BUG)


def _of_sqlite(error: sqlite3.Error) -> Meaning:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # raised by the module itself: a wrong use
        return Meaning.BUG
    if code & 0xFF == sqlite3.SQLITE_ERROR and "no such table" in str(error):
        return Meaning.REFUSED
    return _SQLITE_MEANING.get(code & 0xFF, Meaning.BUG)
