"""Where large bytes are kept, by their SHA-256: patches, reports, logs, prompts."""

from windlass.adapters.blobs.directory import DirectoryBlobs
from windlass.adapters.blobs.objects import ObjectBlobs, open_blobs

__all__ = ["DirectoryBlobs", "ObjectBlobs", "open_blobs"]
