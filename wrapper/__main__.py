"""Run the command line: ``python -m errata``."""

from __future__ import annotations

from errata.cli import main

if __name__ == "__main__":
    main()
