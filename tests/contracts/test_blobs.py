"""What every keeper of blobs must do: directory, objects in memory and on disk, and a real S3 server."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import obstore
import pytest
from obstore.store import S3Store

from windlass.adapters.blobs import DirectoryBlobs, ObjectBlobs, open_blobs
from windlass.core.errors import Broken, Failed, NotFound, Refused, Unavailable
from windlass.ports import Blobs

Damage = Callable[[str], None]
KEYS = {"access_key_id": "testing", "secret_access_key": "testing", "region": "us-east-1"}


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 server's address, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = (tmp_path_factory.mktemp("s3") / "log").open("wb")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while server.poll() is None and time.monotonic() < until:
            try:
                httpx.get(url, trust_env=False)
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield url
    finally:
        server.kill()
        server.wait()
        log.close()


@pytest.fixture(params=["directory", "memory", "file", "s3"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Blobs, Damage]:
    """Blobs, and a way to damage one behind their back."""
    match request.param:
        case "directory":
            return DirectoryBlobs(tmp_path), _file_damage(tmp_path)
        case "memory":
            blobs = open_blobs("memory:///")
            return blobs, _object_damage(blobs)
        case "file":
            blobs = open_blobs(tmp_path.as_uri())
            return blobs, _file_damage(tmp_path)
        case _:
            url = request.getfixturevalue("s3")
            bucket = f"b{uuid.uuid4().hex}"
            httpx.put(f"{url}/{bucket}", trust_env=False).raise_for_status()
            blobs = open_blobs(f"s3://{bucket}/some/prefix", {**KEYS, "endpoint": url}, allows_http=True)
            return blobs, _object_damage(blobs)


def _file_damage(root: Path) -> Damage:
    return lambda digest: (root / "sha256" / digest[:2] / digest).write_bytes(b"other") and None


def _object_damage(blobs) -> Damage:  # type: ignore[no-untyped-def]
    return lambda digest: obstore.put(blobs._store, f"sha256/{digest[:2]}/{digest}", b"other") and None


@pytest.mark.parametrize("data", [b"", b"x", b"\0\xff" * 300_000], ids=["empty", "one", "large"])
def test_what_is_put_is_got(kept: tuple[Blobs, Damage], data: bytes) -> None:
    blobs, _ = kept
    digest = blobs.put(data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert blobs.get(digest) == data
    assert blobs.put(data) == digest


def test_what_is_not_there_is_not_found(kept: tuple[Blobs, Damage]) -> None:
    with pytest.raises(NotFound):
        kept[0].get("0" * 64)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n"])
def test_names_that_are_no_digest_are_refused(kept: tuple[Blobs, Damage], digest: str) -> None:
    with pytest.raises(Refused) as caught:
        kept[0].get(digest)
    assert caught.value.code == "bad_digest"


def test_changed_bytes_are_found(kept: tuple[Blobs, Damage]) -> None:
    blobs, damage = kept
    digest = blobs.put(b"right")
    damage(digest)
    with pytest.raises(Broken) as caught:
        blobs.get(digest)
    assert caught.value.code == "blob_damaged"


def test_many_writers_of_the_same_bytes_do_not_collide(kept: tuple[Blobs, Damage]) -> None:
    blobs, _ = kept
    errors: list[Exception] = []

    def put() -> None:
        try:
            blobs.put(b"y" * 50_000)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=put) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_objects_are_never_overwritten(s3: str) -> None:
    bucket = f"b{uuid.uuid4().hex}"
    httpx.put(f"{s3}/{bucket}", trust_env=False).raise_for_status()
    blobs = open_blobs(f"s3://{bucket}", {**KEYS, "endpoint": s3}, allows_http=True)
    digest = blobs.put(b"right")
    _object_damage(blobs)(digest)
    with pytest.raises(Broken):
        blobs.put(b"right")
    assert bytes(obstore.get(blobs._store, f"sha256/{digest[:2]}/{digest}").bytes()) == b"other"


def test_a_missing_bucket_is_a_failure_and_a_missing_server_passes(s3: str) -> None:
    with pytest.raises(Failed):
        open_blobs("s3://nowhere", {**KEYS, "endpoint": s3}, allows_http=True).put(b"x")
    options = {**KEYS, "endpoint": "http://127.0.0.1:9", "client_options": {"allow_http": True}}
    gone = ObjectBlobs(S3Store("nowhere", **options, retry_config={"max_retries": 0}))
    with pytest.raises(Unavailable):
        gone.put(b"x")


@pytest.mark.parametrize("url", ["ftp://x/y", "bucket", "s3://"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(Refused) as caught:
        open_blobs(url)
    assert caught.value.code == "bad_config"
