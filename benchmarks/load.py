"""Sends signed webhooks at a port and measures: `python -m benchmarks.load PORT COUNT CONNECTIONS FIRST`.

Plain sockets and requests made beforehand, so that the sender costs little beside what it measures. Prints one JSON
line: seconds in all, the seconds of each call, and how many were not answered with 202.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
import time

SECRET = "benchmark-webhook-secret"
_TEXT = "The share of each person; together they pay the whole bill. " * 20


def payload(number: int) -> bytes:
    """A webhook about an issue, about as long as GitHub's (8 kB)."""
    user = {"login": "requester", "id": 7, "type": "User", "site_admin": False, "avatar_url": "https://x.example/7"}
    issue = {"number": number, "title": "Bill", "body": _TEXT * 3, "user": user, "labels": [{"name": "AI-Ready"}] * 5}
    links = {f"{name}_url": f"https://forge.example/repos/bench/ours/{name}" for name in map(str, range(40))}
    repository = {"id": 1, "full_name": "bench/ours", "owner": user, "default_branch": "main", **links}
    document = {"action": "labeled", "issue": issue, "repository": repository, "sender": user}
    return json.dumps(document).encode()


def request(number: int) -> bytes:
    """The call's bytes."""
    body = payload(number)
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    head = (
        "POST /webhooks/github HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"User-Agent: GitHub-Hookshot/bench\r\nX-GitHub-Event: issues\r\nX-GitHub-Delivery: bench-{number}\r\n"
        f"X-Hub-Signature-256: sha256={signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _connection(port: int, calls: list[bytes], times: list[float]) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    refused = 0
    while calls:
        call = calls.pop()
        began = time.perf_counter()
        writer.write(call)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        times.append(time.perf_counter() - began)
        refused += not head.startswith(b"HTTP/1.1 202")
    writer.close()
    return refused


async def _send(port: int, count: int, connections: int, first: int) -> dict[str, object]:
    calls = [request(number) for number in range(first, first + count)]
    times: list[float] = []
    began = time.perf_counter()
    refused = await asyncio.gather(*(_connection(port, calls, times) for _ in range(connections)))
    return {"all_s": time.perf_counter() - began, "times_s": times, "refused": sum(refused)}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_send(*map(int, sys.argv[1:5])))))
