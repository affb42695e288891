"""Components by name: errata's, and other packages' by entry point.

Groups, and what a component of each is made from: ``errata.editors`` (options), and
``errata.pipelines`` (base model, tokenizer, encoder), ``errata.reasoners`` (base model, tokenizer),
``errata.resolvers`` (nothing), ``errata.gates`` (encoder), ``errata.encoders`` (nothing),
``errata.indexes`` (width of the vectors).
"""

from __future__ import annotations

import difflib
import importlib
import sys
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from errata.cache.errors import ErrataError

_BUILT_IN = {
    "errata.editors": {
        "alphaedit": "errata.editors.alphaedit:AlphaEdit",
        "calinet": "errata.editors.calinet:CaliNet",
        "depn": "errata.editors.depn:Depn",
        "enn": "errata.editors.enn:Enn",
        "ft": "errata.editors.ft:FineTuning",
        "ft-l": "errata.editors.ft:ConstrainedFineTuning",
        "grace": "errata.editors.grace:Grace",
        "ke": "errata.editors.ke:KnowledgeEditor",
        "kn": "errata.editors.kn:KnowledgeNeurons",
        "lora": "errata.editors.lora:Lora",
        "memit": "errata.editors.memit:Memit",
        "mend": "errata.editors.mend:Mend",
        "rome": "errata.editors.rome:Rome",
        "tpatcher": "errata.editors.tpatcher:TPatcher",
        "ultraedit": "errata.editors.ultraedit:UltraEdit",
        "wise": "errata.editors.wise:Wise",
    },
    "errata.encoders": {"sentence-transformers": "errata.encoder:SentenceEncoder"},
    "errata.gates": {"cosine": "errata.gates.cosine:CosineGate"},
    "errata.indexes": {
        "faiss": "errata.cache.index.faiss_index:FaissIndex",
        "numpy": "errata.cache.index.base:FlatIndex",
    },
    "errata.pipelines": {
        "ike": "errata.pipelines.ike:Ike",
        "serac": "errata.pipelines.serac:Serac",
    },
    "errata.reasoners": {
        "adapter": "errata.reasoners.adapter:AdapterReasoner",
        "default": "errata.reasoners.default:DefaultReasoner",
        "few-shot": "errata.reasoners.few_shot:FewShotReasoner",
        "model": "errata.reasoners.model:ModelReasoner",
        "prompted": "errata.reasoners.prompted:PromptedReasoner",
        "unedited": "errata.reasoners.unedited:UneditedReasoner",
        "verbatim": "errata.reasoners.verbatim:VerbatimReasoner",
    },
    "errata.resolvers": {
        "base_agreement": "errata.pipelines.resolvers.base_agreement:BaseAgreementResolver",
        "aliases": "errata.pipelines.resolvers.aliases:AliasResolver",
        "decompose": "errata.pipelines.resolvers.decompose:DecomposeResolver",
        "begun_secrets": "errata.pipelines.resolvers.begun_secrets:BegunSecretsResolver",
        "follow_up": "errata.pipelines.resolvers.follow_up:FollowUpResolver",
    },
}


def load(group: str, name: str) -> Any:
    """Return what a name of a group stands for: a class, or a function that makes a component.

    :param group: the entry point group, such as ``errata.reasoners``.
    :param name: its name.
    :raises ErrataError: there is no such name; lists those that there are.
    """
    path = names(group).get(name)
    if path is None:
        raise no_such(name, group)
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def make(group: str, name: str, *arguments: Any, **options: Any) -> Any:
    """Return a new component of a group.

    :param group: as in :func:`load`, like the name.
    :param name: its name.
    :param arguments: for its constructor.
    :param options: for its constructor, by name.
    :raises ErrataError: there is no such name; lists those that there are.
    """
    return load(group, name)(*arguments, **options)


def no_such(name: str, *groups: str) -> ErrataError:
    """Return the error for a name that is in none of the groups, with the most similar one.

    :param name: the unknown name.
    :param groups: entry point groups in which it was looked up.
    """
    expected = " or ".join(f"{sorted(names(group))} in {group}" for group in groups)
    known = [one for group in groups for one in names(group)]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return ErrataError(f"expected one of {expected}, found {name!r}{hint}")


def names(group: str) -> dict[str, str]:
    """Return a group's names with their ``module:attribute``; built-in names take precedence."""
    return {**_installed(group, tuple(sys.path)), **_BUILT_IN.get(group, {})}


@cache
def _installed(group: str, path: tuple[str, ...]) -> dict[str, str]:
    """Return the entry points of other packages; reading all packages' files takes 20 ms.

    :param path: where packages are looked for.
    """
    return {point.name: point.value for point in entry_points(group=group)}
