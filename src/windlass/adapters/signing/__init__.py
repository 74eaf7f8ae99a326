"""Who signs the ledger's checkpoints: an Ed25519 key in a file of the operator's."""

from windlass.adapters.signing.ed25519_file import Ed25519FileSigner, verify_ed25519

__all__ = ["Ed25519FileSigner", "verify_ed25519"]
