"""Names of backends and controls.

========================  ====================================================================
``cache``                 the cache with the model's gate and reasoner
``cache:verbatim``        the same without a reasoner: only stored answers
``cache:all-resolvers``   the cache with every resolver there is, whatever the default ones are
``cache:without-NAME``    the same without one of them; ``cache:without-resolvers``: with none
``cache:if``              the cache, with each edit as a language patch: if the user asks …
``cache:regex``           the cache, with each edit as a replacement of what the model said before
``rome``, ``ft``, …       any editor of weights, on the bare base model
``serac``, ``ike``, …     any other pipeline
``none``                  no edit
``shuffled:BACKEND``      the backend, each edit with another's answer
``random:EDITOR``         a random update of the same norm as the editor's
========================  ====================================================================
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from errata.cache.errors import ErrataError
from errata.registry import names

CACHE, VERBATIM, NONE = "cache", "cache:verbatim", "none"
IF, REGEX = "cache:if", "cache:regex"
SHUFFLED, RANDOM = "shuffled:", "random:"
ALL_RESOLVERS, WITHOUT = "cache:all-resolvers", "cache:without-"
NO_RESOLVERS = f"{WITHOUT}resolvers"
EDITORS, PIPELINES, RESOLVERS = "errata.editors", "errata.pipelines", "errata.resolvers"


def is_control(name: str) -> bool:
    """Return whether a name is a control's."""
    return name in (NONE, VERBATIM) or name.startswith((SHUFFLED, RANDOM))


def check_names(chosen: Sequence[str]) -> None:
    """Refuse unknown names, before a model is loaded.

    :raises ErrataError: no such backend; lists the known ones and the nearest.
    """
    editors, pipelines = names(EDITORS), names(PIPELINES)
    caches = (CACHE, *ablation(), VERBATIM, IF, REGEX)
    for name in chosen:
        plain = name.removeprefix(SHUFFLED)
        kind = plain.removeprefix(RANDOM)
        known = editors if plain.startswith(RANDOM) else {**editors, **pipelines}
        if kind in known or (kind == plain and plain in (*caches, NONE)):
            continue
        there = [*caches, *sorted({**pipelines, **editors}), NONE]
        close = difflib.get_close_matches(kind, there, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ErrataError(
            f"expected a backend among {', '.join(dict.fromkeys(there))}, or shuffled:BACKEND or "
            f"random:EDITOR of one of them, found {name!r}{hint}"
        )


def ablation() -> tuple[str, ...]:
    """Return the backends of an ablation: all resolvers, each one left out, and none."""
    return (ALL_RESOLVERS, *(f"{WITHOUT}{name}" for name in _resolvers()), NO_RESOLVERS)


def is_cache(name: str) -> bool:
    """Return whether a backend is the cache, with whichever resolvers or reasoner."""
    return name in (CACHE, VERBATIM, ALL_RESOLVERS, IF, REGEX) or name.startswith(WITHOUT)


def resolvers_of(name: str) -> list[str] | None:
    """Return the resolvers of a backend that is the cache.

    :param name: of the backend.
    :return: names, in the order in which they are applied; None for those of the comparison.
    """
    if name in (CACHE, VERBATIM, IF, REGEX):
        return None
    return [one for one in _resolvers() if name not in (f"{WITHOUT}{one}", NO_RESOLVERS)]


def _resolvers() -> list[str]:
    """Return every resolver there is, those of other packages last."""
    return sorted(known := names(RESOLVERS), key=lambda one: not known[one].startswith("errata."))


def with_controls(chosen: Sequence[str]) -> tuple[str, ...]:
    """Return the backends, followed by their controls.

    No edit; the first backend with shuffled answers; with the cache, the cache without a reasoner;
    a random update of the size of the first editor's.
    """
    found = [*chosen, NONE]
    real = [name for name in chosen if not is_control(name)]
    if real:
        found.append(f"{SHUFFLED}{real[0]}")
    if CACHE in real:
        found.append(VERBATIM)
    editors = [name for name in real if name in names(EDITORS)]
    if editors:
        found.append(f"{RANDOM}{editors[0]}")
    return tuple(dict.fromkeys(found))
