"""``python -m errata`` is the command line."""

from __future__ import annotations

from errata.cli import main

if __name__ == "__main__":
    main()
