"""errata: an errata sheet for language models (knowledge editing by external extension).

Public names are imported on first use (PEP 562), so that ``import errata`` is quick and
``errata.cache`` never imports torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from errata import deprecation

if TYPE_CHECKING:
    from errata.cache.errors import ErrataError as ErrataError
    from errata.cache.records import Fact as Fact
    from errata.cache.records import LanguagePatch as LanguagePatch
    from errata.cache.records import RegexPatch as RegexPatch
    from errata.decider import Decider as Decider
    from errata.gates.base import Decision as Decision
    from errata.model import EditableModel as EditableModel
    from errata.models.atlas import load_atlas as load_atlas
    from errata.models.smollm2 import load_smollm2 as load_smollm2
    from errata.output import Answer as Answer

__version__ = "0.2.0"

deprecation.install()

_MODULES = {
    "Answer": "errata.output",
    "Decider": "errata.decider",
    "Decision": "errata.gates.base",
    "EditableModel": "errata.model",
    "ErrataError": "errata.cache.errors",
    "Fact": "errata.cache.records",
    "LanguagePatch": "errata.cache.records",
    "RegexPatch": "errata.cache.records",
    "load_atlas": "errata.models.atlas",
    "load_smollm2": "errata.models.smollm2",
}

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module 'errata' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
