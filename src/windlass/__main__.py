"""The command line's entry: joins the commands with the wiring, which is loaded only when a command needs it."""

from __future__ import annotations

from windlass.faces.cli.main import windlass
from windlass.wiring.tools import WiredTools


def main() -> None:
    """Run the command line."""
    windlass(obj=WiredTools())


if __name__ == "__main__":
    main()
