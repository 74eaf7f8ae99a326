"""Blobs in a directory: whole or absent, the same bytes or an error."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from windlass.adapters.blobs import DirectoryBlobs
from windlass.core.errors import Broken, Failed, NotFound, Refused


def only_file(root: Path) -> Path:
    (found,) = [path for path in root.rglob("*") if path.is_file()]
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.binary(max_size=5000))
def test_what_is_put_is_got(tmp_path: Path, data: bytes) -> None:
    blobs = DirectoryBlobs(tmp_path / "blobs")
    digest = blobs.put(data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert blobs.get(digest) == data


def test_the_same_bytes_are_kept_once_under_their_name(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    digest = blobs.put(b"x")
    before = only_file(tmp_path).stat().st_mtime_ns
    assert DirectoryBlobs(tmp_path).put(b"x") == digest
    assert only_file(tmp_path) == tmp_path / "sha256" / digest[:2] / digest
    assert only_file(tmp_path).stat().st_mtime_ns == before


def test_changed_bytes_are_found_and_can_be_put_again(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    digest = blobs.put(b"right")
    only_file(tmp_path).write_bytes(b"wrong")
    with pytest.raises(Broken) as caught:
        blobs.get(digest)
    assert caught.value.code == "blob_damaged"
    assert blobs.put(b"right") == digest
    assert blobs.get(digest) == b"right"


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        DirectoryBlobs(tmp_path).get("0" * 64)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n"])
def test_names_that_are_no_digest_are_refused(digest: str, tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        DirectoryBlobs(tmp_path).get(digest)
    assert caught.value.code == "bad_digest"


def test_many_writers_of_the_same_bytes_do_not_collide(tmp_path: Path) -> None:
    data, errors = b"y" * 200_000, []

    def put() -> None:
        try:
            DirectoryBlobs(tmp_path).put(data)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert only_file(tmp_path).read_bytes() == data


def test_a_half_written_blob_is_never_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("windlass.adapters.blobs.directory.os.fsync", fail)
    with pytest.raises(Failed) as caught:
        DirectoryBlobs(tmp_path).put(b"z" * 1000)
    assert caught.value.code == "blobs_unusable"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_root_that_is_a_file_is_a_clear_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failed):
        DirectoryBlobs(tmp_path / "file").put(b"x")
