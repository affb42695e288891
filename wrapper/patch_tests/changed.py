"""The patches that changed since a revision of git."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from errata.cache.errors import ErrataError
from errata.cache.patches.files import read_edits
from errata.cache.precedence import digest
from errata.cache.records import Edit


def changed_since(folder: Path, revision: str, edits: Iterable[Edit]) -> frozenset[str]:
    """Return the ids of the patches that a revision does not have, or has otherwise.

    A patch that only moved, in its file or to another one, has not changed.

    :param folder: the folder of patches, in a git repository.
    :param revision: a commit, a branch or a tag.
    :param edits: the patches of the folder.
    :raises ErrataError: there is no git, no repository or no such revision.
    """
    commit = _git(folder, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    known = commit.decode().strip()
    names = _git(
        folder, "diff", "--name-only", "--no-renames", "--relative", "-z", known, "--", "."
    )
    others = _git(folder, "ls-files", "--others", "--exclude-standard", "-z", "--", ".")
    changed = {name for name in (names + others).decode(errors="surrogateescape").split("\0")}
    before: set[str] = set()
    for name in changed:
        before |= _digests_at(folder, known, name)
    return frozenset(
        edit.id
        for edit in edits
        if edit.location is not None
        and Path(edit.location.path).name in changed
        and digest(edit) not in before
    )


def _digests_at(folder: Path, commit: str, name: str) -> set[str]:
    """Return the digests of a file's patches at a commit; none where it was missing or wrong."""
    try:
        data = _git(folder, "show", f"{commit}:./{name}")
        return {digest(edit) for edit in read_edits(folder / name, data)}
    except ErrataError:  # the file is new, or was wrong
        return set()


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, check=False
        )
    except OSError as error:
        raise ErrataError(
            f"expected git for --changed-since, found none ({error.strerror}): install it, or "
            "leave the option out"
        ) from error
    if done.returncode:
        found = done.stderr.decode(errors="replace").strip().splitlines()
        raise ErrataError(
            f"{folder}: expected a revision of its git repository, found: "
            f"{found[0] if found else 'an error'}; name a commit, a branch or a tag that was "
            "fetched (in a workflow: fetch-depth: 0)"
        )
    return done.stdout
