"""Create, read, list, update and delete for every entity, as plain dicts, for the faces' administration.

Kept: a value is checked against its column before the database sees it, and the tables' rules decide last; a job's
columns always say what its snapshot says; ledger entries are sealed by the store. Refused: changing or deleting what
is immutable, unknown columns, values of another type (nothing is converted).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from windlass.adapters.storage import codec, models
from windlass.adapters.storage.rows import job_row
from windlass.adapters.storage.store import SqlStore
from windlass.core.errors import Broken, NotFound, Refused
from windlass.core.records import RecordDraft

Row = dict[str, Any]
Key = Any
"""The primary key's value; a tuple in the order of the table where it has several columns."""

EVERYTHING = frozenset({"create", "read", "update", "delete"})
APPEND = frozenset({"create", "read"})
READ = frozenset({"read"})
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """One table and what may be done with it. `make` creates rows that may not be inserted plainly."""

    table: sa.Table
    acts: frozenset[str] = EVERYTHING
    make: Callable[[SqlStore, Row], Row] | None = None
    takes: Mapping[str, Any] | None = None
    derive: Callable[[Row], Row] | None = None

    @property
    def key(self) -> tuple[sa.Column[Any], ...]:
        """The primary key's columns."""
        return tuple(self.table.primary_key.columns)


class Tables:
    """Generic access to the entities of `ENTITIES`, by name. Blocks; may be called from any thread."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    def create(self, name: str, values: Mapping[str, Any]) -> Row:
        """Insert one row; the row as stored. Raises Refused, Conflict."""
        entity = _entity(name, "create")
        row = _checked(entity, values, is_change=False)
        if entity.make is not None:
            return _strip(entity, entity.make(self._store, row))
        with self._store.connections.writing() as connection:
            stored = connection.execute(sa.insert(entity.table).values(row).returning(*entity.table.c))
            return _plain(stored.mappings().one())

    def read(self, name: str, key: Key) -> Row:
        """One row. Raises NotFound."""
        entity = _entity(name, "read")
        with self._store.connections.reading() as connection:
            row = connection.execute(sa.select(entity.table).where(*_is(entity, key))).mappings().one_or_none()
        if row is None:
            raise _missing(name, key)
        return _plain(row)

    def list(
        self, name: str, where: Mapping[str, Any] | None = None, *, after: Key = None, limit: int = 100
    ) -> tuple[Row, ...]:
        """Rows whose columns equal `where`, by primary key, from behind `after` on."""
        entity = _entity(name, "read")
        query = sa.select(entity.table).order_by(*entity.key).limit(max(0, min(limit, 1000)))
        for column, value in (where or {}).items():
            query = query.where(_column(entity, column) == value)
        if after is not None:
            query = query.where(sa.tuple_(*entity.key) > sa.tuple_(*_values(entity, after)))
        with self._store.connections.reading() as connection:
            return tuple(_plain(row) for row in connection.execute(query).mappings())

    def update(self, name: str, key: Key, changes: Mapping[str, Any]) -> Row:
        """Change one row; the row as stored. Raises NotFound, Refused, Conflict."""
        entity = _entity(name, "update")
        row = _checked(entity, changes, is_change=True)
        if not row:
            raise Refused(f"nothing to change in {name}", code="no_change", hint="name at least one column")
        if entity.derive is not None and row[entity.key[0].name] != key:
            raise Refused("the snapshot is of another job", code="wrong_key", hint="send the snapshot of this job")
        statement = sa.update(entity.table).where(*_is(entity, key)).values(row).returning(*entity.table.c)
        with self._store.connections.writing() as connection:
            stored = connection.execute(statement).mappings().one_or_none()
        if stored is None:
            raise _missing(name, key)
        return _plain(stored)

    def delete(self, name: str, key: Key) -> None:
        """Delete one row that nothing else needs. Raises NotFound, Conflict."""
        entity = _entity(name, "delete")
        with self._store.connections.writing() as connection:
            gone = connection.execute(sa.delete(entity.table).where(*_is(entity, key))).rowcount
        if gone == 0:
            raise _missing(name, key)


def _entity(name: str, act: str) -> Entity:
    entity = ENTITIES.get(name)
    if entity is None:
        raise Refused(f"no entity {name!r}", code="unknown_entity", hint=f"one of {', '.join(ENTITIES)}")
    if act not in entity.acts:
        hint = f"{name} can only be {' and '.join(sorted(entity.acts))}"
        raise Refused(f"{act} is refused on {name}", code="immutable", hint=hint)
    return entity


def _checked(entity: Entity, values: Mapping[str, Any], *, is_change: bool) -> Row:
    """The values against their columns' types; JSON text must parse; columns that follow from others are added."""
    try:
        given = _model(entity, is_change).model_validate(dict(values)).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = f"{entity.table.name}.{'.'.join(map(str, first['loc']))}"
        raise Refused(f"{where}: {first['msg']}", code="bad_value", hint="correct this column") from error
    for column in entity.table.c:
        if column.info.get("is_json") and isinstance(given.get(column.name), str):
            _parsed(column.name, given[column.name])
    return entity.derive(given) if entity.derive else given


def _parsed(name: str, text: str) -> None:
    try:
        codec.load(text)
    except Broken as error:
        raise Refused(f"{name} is not JSON", code="bad_value", hint="send JSON as text") from error


def _model(entity: Entity, is_change: bool) -> type[BaseModel]:
    return _MODELS[entity.table.name, is_change]


def _build(entity: Entity, is_change: bool) -> type[BaseModel]:
    if entity.takes is not None:
        fields = dict(entity.takes)
    else:
        keys = {column.name for column in entity.key}
        columns = [c for c in entity.table.c if c.name != "number" and not (is_change and c.name in keys)]
        fields = {c.name: _field(c, is_change) for c in columns}
    return create_model(entity.table.name, __config__=ConfigDict(extra="forbid", strict=True), **fields)


def _field(column: sa.Column[Any], is_change: bool) -> tuple[Any, Any]:
    kind: Any = column.type.python_type
    details: dict[str, Any] = {}
    if kind is int:
        details = {"ge": -_LARGEST, "le": _LARGEST}
    elif kind is float:
        details = {"allow_inf_nan": False}
    is_free = is_change or column.nullable or column.server_default is not None
    annotation = kind | None if column.nullable else kind
    return (annotation, Field(default=None, **details) if is_free else Field(**details))


def _is(entity: Entity, key: Key) -> tuple[sa.ColumnElement[bool], ...]:
    return tuple(c == v for c, v in zip(entity.key, _values(entity, key), strict=True))


def _values(entity: Entity, key: Key) -> tuple[Any, ...]:
    values = key if isinstance(key, tuple) else (key,)
    wanted = tuple(column.type.python_type for column in entity.key)
    if tuple(type(value) for value in values) != wanted:
        names = ", ".join(column.name for column in entity.key)
        raise Refused(f"no key of {entity.table.name}", code="bad_key", hint=f"a key is ({names})")
    return values


def _column(entity: Entity, name: str) -> sa.Column[Any]:
    if name not in entity.table.c:
        raise Refused(f"{entity.table.name} has no column {name!r}", code="unknown_column", hint="see docs/erd.md")
    return entity.table.c[name]


def _missing(name: str, key: Key) -> NotFound:
    return NotFound(f"no {name} {key!r}"[:200], hint="list them to see which there are")


def _plain(row: Mapping[Any, Any]) -> Row:
    return {str(name): bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()}


def _strip(entity: Entity, row: Row) -> Row:
    return {column.name: row[column.name] for column in entity.table.c}


# ------------------------------------------------------------------ rows that are made by the store


def _job(given: Row) -> Row:
    try:
        job = codec.decode_job(given["snapshot"])
    except Broken as error:
        raise Refused(f"agent_jobs.snapshot: {error.message}", code="bad_value", hint="send a whole job") from error
    return job_row(job, updated_at_ms=given["updated_at_ms"])


def _record(store: SqlStore, given: Row) -> Row:
    with store.transaction() as transaction:
        draft = RecordDraft(kind=given["kind"], data=given["data"])
        (record_id,) = transaction.add_records(given["job_id"], [draft], given["at_ms"])
    return _newest(store, models.compliance_records, models.compliance_records.c.id == record_id)


def _checkpoint(store: SqlStore, given: Row) -> Row:
    store.add_checkpoint(given["size"], given["root"], given["note"], given["at_ms"])
    return _newest(store, models.checkpoints, models.checkpoints.c.size == given["size"])


def _setting(store: SqlStore, given: Row) -> Row:
    value = codec.load(given["value"])
    version = store.set_config(given["key"], value, by=given["by"], at_ms=given["at_ms"], why=given["why"])
    table = models.system_config
    return _newest(store, table, sa.and_(table.c.key == given["key"], table.c.version == version))


def _newest(store: SqlStore, table: sa.Table, where: sa.ColumnElement[bool]) -> Row:
    with store.connections.reading() as connection:
        return _plain(connection.execute(sa.select(table).where(where)).mappings().one())


_INSTANT = (int, Field(ge=0, le=_LARGEST))
_RECORD = {"job_id": (str | None, ...), "kind": (str, ...), "data": (dict[str, Any], ...), "at_ms": _INSTANT}
_CHECKPOINT = {"size": _INSTANT, "root": (bytes, ...), "note": (str, ...), "at_ms": _INSTANT}
_SETTING = {"key": (str, ...), "value": (str, ...), "by": (str, ...), "at_ms": _INSTANT, "why": (str, ...)}
_JOB = {"snapshot": (str, ...), "updated_at_ms": _INSTANT}

ENTITIES: Mapping[str, Entity] = {
    entity.table.name: entity
    for entity in (
        Entity(table=models.repositories),
        Entity(table=models.issues),
        Entity(table=models.agents),
        Entity(table=models.agent_jobs, takes=_JOB, derive=_job),
        Entity(table=models.agent_runs),
        Entity(table=models.pull_requests),
        Entity(table=models.ci_results),
        Entity(table=models.approvals, acts=APPEND),
        Entity(table=models.compliance_records, acts=APPEND, takes=_RECORD, make=_record),
        Entity(table=models.ledger_leaves, acts=READ),
        Entity(table=models.checkpoints, acts=APPEND, takes=_CHECKPOINT, make=_checkpoint),
        Entity(table=models.execution_logs, acts=APPEND),
        Entity(table=models.system_config, acts=APPEND, takes=_SETTING, make=_setting),
        Entity(table=models.model_versions),
        Entity(table=models.prompt_templates),
        Entity(table=models.feedback),
        Entity(table=models.deliveries),
        Entity(table=models.usage),
    )
}
_MODELS = {
    (name, is_change): _build(entity, is_change) for name, entity in ENTITIES.items() for is_change in (False, True)
}
