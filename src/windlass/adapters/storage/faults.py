"""What a database says went wrong, as our own errors.

Kept: nothing of SQLAlchemy, sqlite3 or psycopg leaves `adapters/storage`. Busy, deadlock and lost connections are
Unavailable (the whole transaction may be tried again); a broken rule is Refused or Conflict; a full or read-only
disk is Failed; a damaged or foreign schema is Broken. Messages name the rule, never the values.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy.exc as sae

from windlass.adapters.storage.guards import REFUSED_SQLSTATE
from windlass.core.errors import Broken, Conflict, Failed, Refused, Unavailable, WindlassError

_BUSY_STATES = {"40001", "40P01", "55P03", "57014"}
_FULL_HINT = "free space where the database lives; work goes on by itself afterwards"
_SCHEMA_HINT = "run the migrations of this version"


@contextmanager
def translated() -> Iterator[None]:
    """Turn every database error inside the block into a WindlassError."""
    try:
        yield
    except WindlassError:
        raise
    except sae.DBAPIError as error:
        raise translate(error) from error
    except sae.TimeoutError as error:
        raise _busy("no database connection came free in time") from error
    except (sae.StatementError, OverflowError, UnicodeEncodeError) as error:
        raise _bad_value(str(error)) from error
    except (sqlite3.Error, psycopg.Error) as error:
        raise _of(error) from error


def translate(error: sae.DBAPIError) -> WindlassError:
    """Our error for one of SQLAlchemy's."""
    return _lost("the connection to the database was lost") if error.connection_invalidated else _of(error.orig)


def _of(error: BaseException | None) -> WindlassError:
    if isinstance(error, psycopg.Error):
        return _postgres(error)
    if isinstance(error, sqlite3.Error):
        return _sqlite(error)
    return _bad_value(str(error))


def _postgres(error: psycopg.Error) -> WindlassError:
    state, said = error.sqlstate or "", error.diag.message_primary or ""
    rule = error.diag.constraint_name or error.diag.column_name or ""
    if state in _BUSY_STATES:
        return _busy("the database had to choose between two transactions")
    match state:
        case "25006":
            return Failed("the database is read-only", code="database_read_only", hint="point at the primary server")
        case "53100":
            return Failed("the database's disk is full", code="database_full", hint=_FULL_HINT)
        case "23505":
            return _conflict(f"it is there already ({rule})")
        case "23503":
            return _conflict(f"a row that it needs is not there, or is needed by others ({rule})")
        case _ if state == REFUSED_SQLSTATE:
            return _immutable(said)
        case _:
            return _postgres_class(error, state, rule or said)


def _postgres_class(error: psycopg.Error, state: str, said: str) -> WindlassError:
    """By the SQLSTATE's class (PostgreSQL, Appendix A); psycopg's own refusals carry none."""
    match state[:2]:
        case "23":
            return _rule(said)
        case "22" | "54":
            return _bad_value(said)
        case "" if isinstance(error, psycopg.DataError | psycopg.ProgrammingError):
            return _bad_value(str(error))
        case "" | "08" | "28" | "3D" | "53" | "57" | "58":
            return _lost(said or str(error))
        case "42":
            return Broken(f"the database's schema is not ours: {said}", code="database_schema", hint=_SCHEMA_HINT)
        case "XX":
            return Broken(f"the database is damaged: {said}", code="database_damaged", hint="restore from a backup")
        case _:
            return Broken(f"the database failed: {said} ({state})", code="database_error", hint="see the server's log")


def _sqlite(error: sqlite3.Error) -> WindlassError:
    name, said = getattr(error, "sqlite_errorname", ""), str(error)
    match name.removeprefix("SQLITE_").split("_")[0]:
        case "BUSY" | "LOCKED":
            return _busy("the database is busy")
        case "CONSTRAINT":
            return _sqlite_constraint(name, said)
        case "FULL":
            return Failed("the database's disk is full", code="database_full", hint=_FULL_HINT)
        case "READONLY" | "PERM" | "AUTH":
            return Failed("the database is read-only", code="database_read_only", hint="check its file's permissions")
        case "CANTOPEN" | "IOERR":
            hint = "check the database's directory and disk"
            return Failed(f"the database's file cannot be used: {said}", code="database_file", hint=hint)
        case "CORRUPT" | "NOTADB":
            return Broken(f"the database is damaged: {said}", code="database_damaged", hint="restore from a backup")
        case "ERROR" if "no such" in said or "has no column" in said:
            return Broken(f"the database's schema is not ours: {said}", code="database_schema", hint=_SCHEMA_HINT)
        case _:
            return _bad_value(said)


def _sqlite_constraint(name: str, said: str) -> WindlassError:
    rule = said.partition("constraint failed: ")[2] or said
    match name.removeprefix("SQLITE_CONSTRAINT_"):
        case "UNIQUE" | "PRIMARYKEY" | "ROWID":
            return _conflict(f"it is there already ({rule})")
        case "FOREIGNKEY":
            return _conflict("a row that it needs is not there, or is needed by others")
        case "TRIGGER":
            return _immutable(said)
        case _:
            return _rule(rule)


def _busy(message: str) -> Unavailable:
    return Unavailable(message, code="database_busy", hint="try the whole transaction again", retry_after_s=0.1)


def _lost(message: str) -> Unavailable:
    first = message.strip().splitlines()[0] if message.strip() else "the database did not answer"
    return Unavailable(first[:300], code="database_unreachable", hint="check that the server runs and can be reached")


def _conflict(message: str) -> Conflict:
    return Conflict(message, code="database_conflict", hint="read again what is there")


def _rule(rule: str) -> Refused:
    return Refused(f"a rule of the database refuses it ({rule})"[:300], code="database_rule", hint="correct the values")


def _bad_value(said: str) -> Refused:
    first = said.strip().splitlines()[0] if said.strip() else "a value does not fit"
    return Refused(f"the database cannot hold it: {first}"[:300], code="database_value", hint="correct the values")


def _immutable(said: str) -> Refused:
    return Refused(said.splitlines()[0][:300], code="immutable", hint="the ledger is only ever appended to")
