"""A plain HTTP server on loopback, for tests in which somebody outside is wanted to be reached."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class World(http.server.BaseHTTPRequestHandler):
    """Takes what it is sent and says that all is well."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.send_response(200)
        self.end_headers()

    do_POST = do_GET  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def world_on_loopback() -> Iterator[int]:
    """The port that it listens on."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), World)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()
