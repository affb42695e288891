"""Links and e-mail addresses in a text, by linkify-it."""

from __future__ import annotations

from functools import cache
from typing import Any


def has_email_address(text: str) -> bool:
    """Return whether a text has an e-mail address."""
    return any(one.schema == "mailto:" for one in _links(text))


def has_link(text: str) -> bool:
    """Return whether a text has a link: with a scheme, or a host that is none by accident.

    Of a bare name that ends in two letters it is not known whether it is a host or a file
    (``main.py``): it is a link with ``www.`` or with a path.
    """
    return any(_is_link(one.schema, one.text) for one in _links(text))


def _is_link(schema: str, text: str) -> bool:
    if schema:
        return schema != "mailto:"
    host, slash, _ = text.partition("/")
    return bool(slash) or host.lower().startswith("www.") or len(host.rpartition(".")[2]) > 2


def _links(text: str) -> list[Any]:
    return _linkify().match(text) or []


@cache
def _linkify() -> Any:
    from linkify_it import LinkifyIt

    return LinkifyIt()
