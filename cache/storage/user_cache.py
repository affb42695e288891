"""The folder of what errata makes once and can make again: trained controls, converted models."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

CACHE_VARIABLE = "ERRATA_CACHE"
"""Environment variable that names another folder than the platform's for what errata caches."""


def user_cache_folder() -> Path:
    """Return the folder of what errata caches: ``$ERRATA_CACHE``, else the platform's."""
    import platformdirs

    given = os.environ.get(CACHE_VARIABLE)
    return Path(given).expanduser() if given else platformdirs.user_cache_path("errata", False)


def remove_unused(folder: Path, keep_days: float = 90.0) -> None:
    """Remove the folders inside a folder that were last marked as used long ago.

    What cannot be removed stays, as another user's does.

    :param folder: of folders, each marked by :func:`mark_used`; it may be missing.
    :param keep_days: days from which a folder is removed.
    """
    oldest = time.time() - keep_days * 86_400
    with contextlib.suppress(OSError):  # another process may remove the same ones
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.is_symlink() and path.stat().st_mtime < oldest:
                shutil.rmtree(path, ignore_errors=True)


def mark_used(folder: Path) -> None:
    """Mark a folder as used now, if there is one that may be changed."""
    with contextlib.suppress(OSError):
        os.utime(folder)
