"""What an endpoint gets and gives: a checked call, a reply, and the table of operations.

Endpoints are written against GitHub's own path templates (`GET /repos/{owner}/{repo}/issues`); what each needs in
permissions stands beside it and is enforced before it runs. Nothing in a request is believed: types, lengths and
numbers are checked here and refused with GitHub's words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, unquote, urlencode

from windlass.localforge.actors import Actor, Need, allows, level_of, require
from windlass.localforge.errors import Denied, forbidden, invalid, not_found
from windlass.localforge.git import Git
from windlass.localforge.hub import Hub
from windlass.localforge.model import Issue, Repository
from windlass.localforge.site import Site

PAGE_LIMIT: Final = 100
_MULTI: Final = frozenset({"path", "ref", "branch", "basehead"})
_MAX_INT: Final = 2**53
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer. `body` is JSON data, or bytes with their `media_type`, or None for no content."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json; charset=utf-8"

    def content(self) -> bytes:
        """The body's bytes."""
        if self.body is None and self.status in (204, 304):
            return b""
        if isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(slots=True, kw_only=True)
class Call:
    """One request to one operation."""

    hub: Hub
    actor: Actor
    method: str
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    accept: str
    raw_body: bytes
    rate: Mapping[str, Any]
    found: Repository | None = None
    _data: dict[str, Any] | None = None

    @property
    def site(self) -> Site:
        """The site."""
        return self.hub.site

    @property
    def repo(self) -> Repository:
        """The repository of the path; the caller may see it."""
        assert self.found is not None
        return self.found

    @property
    def git(self) -> Git:
        """The repository on disk."""
        return self.site.git(self.repo)

    def number(self, name: str) -> int:
        """A number in the path. Raises Denied (404)."""
        text = self.params[name]
        if not text.isascii() or not text.isdigit() or len(text) > 15:
            raise not_found()
        return int(text)

    def issue(self, name: str = "issue_number") -> Issue:
        """The issue or pull request of the path."""
        return self.site.issue(self.repo, self.number(name))

    def pull(self) -> Issue:
        """The pull request of the path. Raises Denied (404) for a plain issue."""
        issue = self.issue("pull_number")
        if issue.pull is None:
            raise not_found()
        return issue

    def level(self) -> str:
        """The caller's level in the repository."""
        return level_of(self.site, self.actor, self.repo)

    def may(self, *app: str, user: str) -> bool:
        """Whether the caller may do something more than the operation asks for."""
        return allows(self.site, self.actor, self.repo, Need(app=app, user=user))

    # ---------------------------------------------------------------- the body

    @property
    def data(self) -> dict[str, Any]:
        """The JSON object in the body; empty when there is none. Raises Denied (400)."""
        if self._data is None:
            self._data = _json_object(self.raw_body)
        return self._data

    def text(self, name: str, resource: str) -> str | None:
        """A string of the body, or None when it is absent or null. Raises Denied (422)."""
        value = self.data.get(name)
        if value is not None and not isinstance(value, str):
            raise wrong_type(name, value, "string")
        if value is not None and any("\ud800" <= char <= "\udfff" for char in value):
            raise invalid(resource, name)
        return value

    def needed_text(self, name: str, resource: str) -> str:
        """A string that must be there and not blank. Raises Denied (422, missing_field)."""
        value = self.text(name, resource)
        if value is None or not value.strip():
            raise invalid(resource, name, "missing_field")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean of the body. Raises Denied (422)."""
        value = self.data.get(name, default)
        if not isinstance(value, bool):
            raise wrong_type(name, value, "boolean")
        return value

    def texts(self, name: str, values: Any) -> list[str]:
        """A list of strings, or of objects with a `name`. Raises Denied (422)."""
        if not isinstance(values, list):
            raise wrong_type(name, values, "array")
        out: list[str] = []
        for value in values:
            text = value.get("name") if isinstance(value, dict) else value
            if not isinstance(text, str):
                raise wrong_type(name, text, "string")
            out.append(text)
        return out

    # ---------------------------------------------------------------- pages

    def page_of(self, items: Sequence[T]) -> tuple[list[T], dict[str, str]]:
        """The asked page of a list, and the Link header that leads to the others."""
        size = min(PAGE_LIMIT, max(1, self._query_number("per_page", 30)))
        page = max(1, self._query_number("page", 1))
        last = max(1, -(-len(items) // size))
        links: list[tuple[str, int]] = []
        if page > 1:
            links += [("prev", page - 1), ("first", 1)]
        if page < last:
            links += [("next", page + 1), ("last", last)]
        headers = {"Link": ", ".join(f'<{self._page_url(at)}>; rel="{rel}"' for rel, at in links)} if links else {}
        return list(items[(page - 1) * size : page * size]), headers

    def _query_number(self, name: str, default: int) -> int:
        text = self.query.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default

    def _page_url(self, page: int) -> str:
        return f"{self.site.base_url}/api/v3{self.path}?{urlencode({**self.query, 'page': page})}"

    def listing(self, items: Sequence[T], shape: Callable[[T], Any]) -> Reply:
        """A page of a list as a reply."""
        page, headers = self.page_of(items)
        return Reply(body=[shape(item) for item in page], headers=headers)


def _json_object(raw: bytes) -> dict[str, Any]:
    if not raw.strip():
        return {}
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Denied(400, "Problems parsing JSON") from error
    if isinstance(data, list):
        return {"": data}
    if not isinstance(data, dict):
        raise Denied(400, "Body should be a JSON object")
    return data


def wrong_type(name: str, value: Any, kind: str) -> Denied:
    """422 in the words of GitHub's schema check."""
    shown = json.dumps(value, default=str)[:80]
    return Denied(422, f"Invalid request.\n\nFor 'properties/{name}', {shown} is not a {kind}.")


# -------------------------------------------------------------------- the table

Endpoint = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One line of the table. `template` is GitHub's; `need` None: the endpoint looks at the caller itself."""

    method: str
    template: str
    pattern: re.Pattern[str]
    need: Need | None
    endpoint: Endpoint


OPERATIONS: Final[list[Operation]] = []


def operation(line: str, *, app: Iterable[str] = (), user: str | None = None) -> Callable[[Endpoint], Endpoint]:
    """Put an endpoint into the table: `operation("GET /repos/{owner}/{repo}", app=["metadata:read"], user="read")`."""
    method, template = line.split(" ")
    need = None if user is None else Need(app=tuple(app), user=user)

    def put(endpoint: Endpoint) -> Endpoint:
        entry = Operation(method=method, template=template, pattern=_pattern(template), need=need, endpoint=endpoint)
        OPERATIONS.append(entry)
        return endpoint

    return put


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    out = [re.escape(parts[0])]
    for name, rest in zip(parts[1::2], parts[2::2], strict=True):
        out.append(f"(?P<{name}>{'.+' if name in _MULTI else '[^/]+'})" + re.escape(rest))
    return re.compile("".join(out))


class Table:
    """Finds the operation of a request; the more literal template wins."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._by_method: dict[str, list[Operation]] = {}
        for entry in sorted(operations, key=_specificity):
            self._by_method.setdefault(entry.method, []).append(entry)

    def find(self, method: str, path: str) -> tuple[Operation, dict[str, str]]:
        """The operation and its path parameters, unquoted. Raises Denied (404)."""
        for entry in self._by_method.get("GET" if method == "HEAD" else method, ()):
            match = entry.pattern.fullmatch(path)
            if match:
                return entry, {name: unquote(value) for name, value in match.groupdict().items()}
        raise not_found()


def _specificity(entry: Operation) -> tuple[int, int]:
    parts = entry.template.split("/")
    return sum("{" + name + "}" in parts for name in _MULTI), -sum("{" not in part for part in parts)


def parse_query(raw: bytes) -> dict[str, str]:
    """The query; the last value of a name counts, as far as GitHub's operations have lists at all."""
    return dict(parse_qsl(raw.decode(errors="replace"), keep_blank_values=True, max_num_fields=100))


def admit(call: Call, entry: Operation) -> None:
    """Find the repository of the path and hold the caller against what the operation needs."""
    if "owner" in call.params and "repo" in call.params:
        call.found = call.site.repository(f"{call.params['owner']}/{call.params['repo']}")
    if entry.need is None:
        return
    require(call.site, call.actor, call.repo, entry.need)


def need_account(call: Call) -> None:
    """Raises Denied: 401 for nobody, 403 for an App's JWT."""
    if call.actor.account is None:
        raise (
            forbidden("Resource not accessible by integration")
            if call.actor.app
            else Denied(401, "Requires authentication")
        )
