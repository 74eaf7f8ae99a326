"""The forge's pages: repository, issue and pull request, with Approve and Merge for those who are signed in.

Everything shown comes from strangers, so templates escape it all and Markdown is shown as plain text; no script runs.
Signing in takes an API token; forms carry a token bound to the session, and other sites' posts are refused.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from windlass.core.errors import Refused
from windlass.localforge.actors import NOBODY, Actor, at_least, identify, level_of, may_see
from windlass.localforge.acts import checks, reviews
from windlass.localforge.acts.issues import add_comment
from windlass.localforge.acts.pulls import merge_blocker
from windlass.localforge.acts.refs import merge_now
from windlass.localforge.errors import Denied, forbidden, not_found
from windlass.localforge.hub import Hub
from windlass.localforge.model import Issue, Repository
from windlass.localforge.shapes import pulls as pull_shapes
from windlass.localforge.shapes.pulls import the_pull
from windlass.localforge.site import iso

_COOKIE: Final = "localforge_session"
_FORM_BYTES: Final = 128 * 1024
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Pages:
    """The HTML side of the forge."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._sessions: dict[str, str] = {}
        self._secret = secrets.token_bytes(32)
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "pages"),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["when"] = iso

    def routes(self) -> list[Route]:
        """All pages."""
        one = "/{owner}/{name}/{kind:str}/{number:int}"
        return [
            Route("/", self.front),
            Route("/sign-in", self.sign_in, methods=["POST"]),
            Route("/sign-out", self.sign_out, methods=["POST"]),
            Route("/{owner}/{name}", self.repository),
            Route("/{owner}/{name}/pull/{number:int}.diff", self.diff),
            Route(one, self.issue),
            Route(one + "/{act}", self.act, methods=["POST"]),
        ]

    # ---------------------------------------------------------------- rendering

    def _actor(self, request: Request) -> Actor:
        token = self._sessions.get(request.cookies.get(_COOKIE, ""))
        if token is None:
            return NOBODY
        try:
            return identify(self.hub.site, f"token {token}")
        except Denied:
            return NOBODY

    def _csrf(self, request: Request) -> str:
        session = request.cookies.get(_COOKIE, "")
        return hmac.new(self._secret, session.encode(), hashlib.sha256).hexdigest()

    def _page(self, request: Request, name: str, status: int = 200, **values: Any) -> Response:
        actor = self._actor(request)
        text = self._templates.get_template(name).render(
            me=actor.account, csrf=self._csrf(request), here=request.url.path, **values
        )
        return HTMLResponse(text, status, _HEADERS)

    def refusal(self, request: Request, error: Refused) -> Response:
        """A page that says no."""
        status = error.status if isinstance(error, Denied) else 400
        return self._page(request, "refused.html", status, message=error.message, status_code=status)

    def _repository(self, request: Request) -> Repository:
        params = request.path_params
        repo = self.hub.site.repository(f"{params['owner']}/{params['name']}")
        if not may_see(self.hub.site, self._actor(request), repo):
            raise not_found()
        return repo

    def _issue(self, request: Request) -> tuple[Repository, Issue]:
        repo = self._repository(request)
        if request.path_params.get("kind", "pull") not in ("pull", "issues"):
            raise not_found()
        return repo, self.hub.site.issue(repo, request.path_params["number"])

    # ---------------------------------------------------------------- reading

    async def front(self, request: Request) -> Response:
        """The repositories one may see."""
        actor = self._actor(request)
        repos = [repo for repo in self.hub.site.world.repositories.values() if may_see(self.hub.site, actor, repo)]
        return self._page(request, "front.html", repositories=repos)

    async def repository(self, request: Request) -> Response:
        """A repository's issues, pull requests and branches."""
        repo = self._repository(request)
        issues = sorted(repo.issues.values(), key=lambda issue: -issue.number)
        branches = self.hub.site.git(repo).branches()
        return self._page(request, "repository.html", repo=repo, issues=issues, branches=branches)

    async def issue(self, request: Request) -> Response:
        """An issue, or a pull request with its checks, reviews and diff."""
        repo, issue = self._issue(request)
        comments = [repo.comments[number] for number in issue.comments]
        if issue.pull is None:
            return self._page(request, "issue.html", repo=repo, issue=issue, comments=comments)
        return self._page(
            request, "pull.html", repo=repo, issue=issue, comments=comments, **await self._pull(request, repo, issue)
        )

    async def _pull(self, request: Request, repo: Repository, issue: Issue) -> dict[str, Any]:
        pull, git, actor = the_pull(issue), self.hub.site.git(repo), self._actor(request)
        level = level_of(self.hub.site, actor, repo)
        rules = repo.protections.get(pull.base_ref)
        is_author = actor.account is not None and actor.account.login == issue.author
        return {
            "pull": pull,
            "files": await pull_shapes.changes(git, pull),
            "commits": [await git.commit(sha) for sha in await git.log(pull.base_sha, pull.head_sha)],
            "runs": checks.latest_runs(repo, pull.head_sha),
            "statuses": checks.latest_statuses(repo, pull.head_sha),
            "required": rules.required_checks if rules else [],
            "blocker": await merge_blocker(self.hub, repo, issue, level),
            "may_review": actor.account is not None and not is_author and at_least(level, "read"),
            "may_merge": at_least(level, "write"),
        }

    async def diff(self, request: Request) -> Response:
        """The plain diff of a pull request."""
        repo, issue = self._issue(request)
        if issue.pull is None:
            raise not_found()
        git = self.hub.site.git(repo)
        data = await git.diff(await pull_shapes.start_of(git, issue.pull), issue.pull.head_sha)
        return PlainTextResponse(data, headers=_HEADERS)

    # ---------------------------------------------------------------- signing in

    async def _form(self, request: Request) -> dict[str, str]:
        """A small url-encoded form from one of our own pages. Raises Denied (403, 413)."""
        origin = request.headers.get("origin")
        if origin not in (None, f"{request.url.scheme}://{request.url.netloc}"):
            raise forbidden("The form came from another site")
        raw = b""
        async for part in request.stream():
            raw += part
            if len(raw) > _FORM_BYTES:
                raise Denied(413, "The form is too large")
        return _fields(raw)

    async def sign_in(self, request: Request) -> Response:
        """Take a token, give a session."""
        form = await self._form(request)
        actor = identify(self.hub.site, f"token {form.get('token', '').strip()}")
        if actor.account is None or actor.installation is not None:
            raise forbidden("Sign in with a user's token")
        session = secrets.token_urlsafe(32)
        self._sessions[session] = form["token"].strip()
        response = RedirectResponse(_local(form.get("next", "/")), 303, _HEADERS)
        response.set_cookie(_COOKIE, session, httponly=True, samesite="strict")
        return response

    async def sign_out(self, request: Request) -> Response:
        """Forget the session."""
        await self._checked_form(request)
        self._sessions.pop(request.cookies.get(_COOKIE, ""), None)
        return RedirectResponse("/", 303, _HEADERS)

    async def _checked_form(self, request: Request) -> dict[str, str]:
        form = await self._form(request)
        if not hmac.compare_digest(form.get("csrf", "").encode(), self._csrf(request).encode()):
            raise forbidden("The form is too old; load the page again")
        return form

    # ---------------------------------------------------------------- acting

    async def act(self, request: Request) -> Response:
        """Approve, ask for changes, comment, merge."""
        form = await self._checked_form(request)
        repo, issue = self._issue(request)
        actor = self._actor(request)
        by, what = actor.login if actor.account else "", request.path_params["act"]
        if not by:
            raise Denied(401, "Sign in first")
        if what == "comment":
            add_comment(self.hub, repo, issue, by, form.get("body", ""))
        elif issue.pull is None or what not in ("approve", "request-changes", "merge"):
            raise not_found()
        elif form.get("head") != issue.pull.head_sha:
            raise Denied(409, "The head has moved since you looked; load the page again")
        elif what == "merge":
            await self._merge(repo, issue, actor)
        else:
            event = "APPROVE" if what == "approve" else "REQUEST_CHANGES"
            reviews.submit(self.hub, repo, issue, by, event, form.get("body", ""), issue.pull.head_sha)
        return RedirectResponse(f"/{repo.full_name}/{'pull' if issue.pull else 'issues'}/{issue.number}", 303, _HEADERS)

    async def _merge(self, repo: Repository, issue: Issue, actor: Actor) -> None:
        level = level_of(self.hub.site, actor, repo)
        if not at_least(level, "write"):
            raise forbidden("Must have push rights to Repository.")
        await merge_now(self.hub, repo, issue, actor.login, by_level=level, sha=the_pull(issue).head_sha)


def _fields(raw: bytes) -> dict[str, str]:
    return dict(parse_qsl(raw.decode(errors="replace"), keep_blank_values=True, max_num_fields=20))


def _local(path: str) -> str:
    """A path of our own, so that signing in leads nowhere else."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_ours else "/"
