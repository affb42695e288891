"""The folder of what errata makes once and can make again: trained controls, converted models."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "ERRATA_CACHE"
"""Environment variable that names another folder than the platform's for what errata caches."""


def user_cache_folder() -> Path:
    """Return the folder of what errata caches: ``$ERRATA_CACHE``, else the platform's."""
    import platformdirs

    given = os.environ.get(CACHE_VARIABLE)
    return Path(given).expanduser() if given else platformdirs.user_cache_path("errata", False)
