"""Where large bytes are kept, by their SHA-256: patches, reports, logs, prompts."""

from windlass.adapters.blobs.directory import DirectoryBlobs

__all__ = ["DirectoryBlobs"]
