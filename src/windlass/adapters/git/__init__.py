"""Git: mirrors, workspaces made from them, changes taken from them, and the user's own local repositories."""

from windlass.adapters.git.local import fetch_branch_into, import_repository
from windlass.adapters.git.repositories import GitRepositories
from windlass.adapters.git.walk import Caps

__all__ = ["Caps", "GitRepositories", "fetch_branch_into", "import_repository"]
