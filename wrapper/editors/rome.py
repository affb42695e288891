"""ROME: a fact inserted into one feed-forward layer as a new pair of key and value.

Meng et al. 2022, "Locating and Editing Factual Associations in GPT"
(https://arxiv.org/abs/2202.05262), in the form of Gupta et al. 2024, "Rebuilding ROME"
(https://arxiv.org/abs/2403.07175): one and the same key, averaged over contexts, in the update and
in its denominator. The original mixed it with the key of the plain prompt there, which now and then
makes an update so large that it breaks the model.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import UnsupportedEdit
from errata.cache.records import Edit, Fact
from errata.cache.text.subject import subject_of
from errata.editing.base import Capabilities
from errata.editing.changes import WeightChange, editable
from errata.editors.shared.corpus import atlas_texts, is_atlas, own_texts, token_rows
from errata.editors.shared.covariance import second_moments
from errata.editors.shared.fine_tuning import gradients
from errata.editors.shared.key_value import Reading, find_delta, read
from errata.editors.shared.prompts import Batch, Target, batch_of, forms_of
from errata.editors.shared.rome_config import RomeSettings, settings_for
from errata.generation.sharing import sharing_copy
from errata.module_paths import ModulePaths, matrix, module_paths_of, stored

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

LONGEST_ROW = 256


class Rome:
    """Edits facts one at a time, each by a change of rank one.

    :param settings: all settings at once; by default those for the model
        (:func:`errata.editors.shared.rome_config.settings_for`).
    :param text: running text for the second moment, read once, as far as needed; by default atlas
        gets its training text and any other model what it writes itself.
    :param folder: where second moments are kept (:mod:`errata.editors.shared.covariance`).
    :param sites: for a model that is not in the table of :mod:`errata.module_paths`.
    :param seed: of the texts that the model writes.
    :param progress: show progress bars on stderr.
    :param changes: single settings, such as ``layer=5``.
    :ivar losses: of the edits planned so far, by id: the target's loss in nats that the search for
        its value ended with.
    :ivar trained: seconds that the second moment took, once it is there.
    :raises errata.cache.errors.EditError: there is no such setting.
    """

    name = "rome"
    capabilities = Capabilities(needs_subject=True)

    def __init__(
        self,
        *,
        settings: RomeSettings | None = None,
        text: Iterable[str] | None = None,
        folder: str | Path | None = None,
        sites: ModulePaths | None = None,
        seed: int = 0,
        progress: bool = False,
        **changes: Any,
    ) -> None:
        RomeSettings(layer=0).changed(changes)
        self.settings, self.folder, self.sites = settings, folder, sites
        self.seed, self.progress = seed, progress
        self._changes, self._text = changes, text
        self.losses: dict[str, float] = {}
        self.trained: dict[str, float] = {}
        self._rows: dict[int, tuple[object, list[list[int]]]] = {}

    def supports(self, edit: Edit) -> bool:
        """Tell whether an edit is a fact with one subject in its question, and no secret."""
        if not isinstance(edit, Fact) or edit.forget:
            return False
        try:
            subject_of(edit)
        except UnsupportedEdit:
            return False
        return True

    def changed(self, **changes: Any) -> Rome:
        """Return the same editor with other settings; the running text is read only once.

        :raises errata.cache.errors.EditError: there is no such setting.
        """
        RomeSettings(layer=0).changed(changes)
        other = copy.copy(self)
        other._changes = {**self._changes, **changes}
        return other

    def settings_for(self, model: GenerativeModel) -> RomeSettings:
        """Return the settings that will be used on a model."""
        found = self.settings or settings_for(model, module_paths_of(model, sites=self.sites))
        return found.changed(self._changes)

    def plan(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
    ) -> list[WeightChange]:
        """Return the one change of the layer's weight that makes all edits, in order.

        Each edit is planned on the weights that those before it leave.

        :param model: the model.
        :param tokenizer: its tokenizer, a fast one.
        :param edits: facts.
        :raises UnsupportedEdit: no fact, no subject, or no value makes the layer say the answer.
        :raises errata.cache.errors.ModelError: a model that is not known, or quantised.
        """
        import torch
        from rich.console import Console
        from rich.progress import track
        from torch import nn

        facts = [_fact(edit) for edit in edits]
        settings, sites = self.settings_for(model), module_paths_of(model, sites=self.sites)
        name = sites.down_weight(settings.layer)
        weight = editable(model, name).detach()
        own = sharing_copy(model)  # its weight is replaced, the model's never written
        down = own.get_submodule(sites.down(settings.layer))
        with gradients():
            total = torch.zeros(weight.shape, dtype=torch.float64)
            factor = self._factor(own, tokenizer, settings, sites)
            contexts = self._contexts(own, tokenizer, settings)
            for fact in track(
                facts, "ROME", console=Console(stderr=True), transient=True,
                disable=not self.progress,
            ):  # fmt: skip
                update = self._update(own, tokenizer, down, fact, contexts, factor, settings)
                total += stored(down, update)
                edited = (weight.cpu().double() + total).to(weight.device, weight.dtype)
                down.weight = nn.Parameter(edited, requires_grad=False)
        return [WeightChange(name, total)]

    # -- one edit ----------------------------------------------------------------------------

    def _update(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        down: nn.Module,
        fact: Fact,
        contexts: Sequence[str],
        factor: torch.Tensor,
        settings: RomeSettings,
    ) -> torch.Tensor:
        """Return the update of one fact, float64 [d, d_mlp]."""
        batch = fact_batch(model, tokenizer, fact, contexts, clozes=settings.clozes)
        before = read(model, down, batch)
        found = find_delta(model, down, batch, before, settings)
        self.losses[fact.id] = found.nll
        if not found.nll <= settings.hopeless:
            raise UnsupportedEdit(
                f"{fact.id}: expected a value at layer {settings.layer} that makes the model say "
                f"{fact.answer!r}, found none: its loss stays at {found.nll:.2f} nats (limit "
                f"{settings.hopeless}); try another layer, a larger clamp or more steps "
                "(`errata locate` tells which)",
                fact.id,
            )
        key, gap = key_and_gap(before, found.delta)
        return insertion(factor, key, gap)

    # -- what all edits share ----------------------------------------------------------------

    def _factor(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        settings: RomeSettings,
        sites: ModulePaths,
    ) -> torch.Tensor:
        """Return the Cholesky factor of the layer's second moment."""
        import torch

        if id(tokenizer) not in self._rows:
            size = matrix(model.get_submodule(sites.down(settings.layer))).shape[1]
            longest = getattr(model.config, "max_position_embeddings", None) or LONGEST_ROW
            rows = token_rows(
                tokenizer,
                self._running_text(model, tokenizer),
                tokens=settings.tokens_per_key * size,
                width=min(longest, LONGEST_ROW),
            )
            self._rows[id(tokenizer)] = (tokenizer, rows)  # kept, so that its id stays its own
        (moment,) = second_moments(
            model, self._rows[id(tokenizer)][1], [settings.layer],
            sites=self.sites, folder=self.folder, progress=self.progress,
        )  # fmt: skip
        if moment.seconds is not None:
            self.trained = {"second moment": moment.seconds}
        factor: torch.Tensor = torch.linalg.cholesky(moment.regularised(settings.ridge))
        return factor

    def _running_text(
        self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase
    ) -> Iterable[str]:
        if self._text is not None:
            return self._text
        if is_atlas(model):
            return atlas_texts(self.seed)
        return own_texts(model, tokenizer, length=64, seed=self.seed)

    def _contexts(
        self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, settings: RomeSettings
    ) -> tuple[str, ...]:
        """Return what is put before the prompts: nothing, and texts the model writes."""
        found = [""]
        for length, number in settings.contexts:
            texts = own_texts(
                model, tokenizer, length=length, seed=self.seed + length, top_k=5, rows=number
            )
            found += [f"{' '.join(text.split())}. " for text in islice(texts, number)]
        return tuple(found)


def fact_batch(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    fact: Fact,
    contexts: Sequence[str],
    *,
    clozes: bool = True,
) -> Batch:
    """Return a fact's prompts behind every context, the plain question first, the essence last.

    :param model: the model.
    :param tokenizer: its tokenizer.
    :param fact: the fact.
    :param contexts: texts before the prompts; the first one is empty.
    :param clozes: the statement made from the question, too.
    :raises UnsupportedEdit: no subject was found.
    """
    subject = subject_of(fact)
    forms = forms_of(fact.question, subject) if clozes else (fact.question,)
    targets = [
        Target(f"{context}{form}", subject, fact.answer) for context in contexts for form in forms
    ]
    essence = f"{subject} is a" if subject.isascii() else f"{subject}是"
    return batch_of(model, tokenizer, [*targets, Target(essence, subject)])


def key_and_gap(before: Reading, delta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return k*, the mean key, and v* − v(k*), from the same prompts (r-ROME).

    v* is the value at the plain prompt plus δ; v(k*) is the mean value over the prompts, which is
    what the layer makes of the mean key, its bias included.

    :param before: a batch as :func:`fact_batch` makes it, read with the weights as they are.
    :param delta: float [d].
    :return: float64 [d_mlp] and [d], on the CPU.
    """
    keys, values = before.keys[:-1].cpu().double(), before.values[:-1].cpu().double()
    return keys.mean(0), values[0] + delta.cpu().double() - values.mean(0)


def insertion(factor: torch.Tensor, key: torch.Tensor, gap: torch.Tensor) -> torch.Tensor:
    """Return the update Δ = (v* − v(k*)) uᵀ / (uᵀ k*), with u = C⁻¹ k* (ROME, equation 2).

    Of all Δ with (W + Δ) k* = v* it has the least tr(Δ C Δᵀ), which is ‖v* − W k*‖² / (k* · u).

    :param factor: lower Cholesky factor of C, float64 [d_mlp, d_mlp].
    :param key: k*, float64 [d_mlp].
    :param gap: v* − v(k*), float64 [d].
    :return: float64 [d, d_mlp], of rank one.
    """
    import torch

    direction = torch.cholesky_solve(key[:, None], factor)[:, 0]
    return torch.outer(gap, direction) / (direction @ key)


def _fact(edit: Edit) -> Fact:
    if not isinstance(edit, Fact) or edit.forget:
        what = "a fact to be forgotten" if isinstance(edit, Fact) else f"a {edit.kind} patch"
        raise UnsupportedEdit(
            f"{edit.id}: expected a fact with an answer, found {what}; ROME inserts facts only, "
            "keep this edit in the cache",
            edit.id,
        )
    return edit
