"""ROME: a fact inserted into one feed-forward layer as a new pair of key and value.

Meng et al. 2022, "Locating and Editing Factual Associations in GPT"
(https://arxiv.org/abs/2202.05262), in the form of Gupta et al. 2024, "Rebuilding ROME"
(https://arxiv.org/abs/2403.07175): the key averaged over contexts, both in the update and in its
denominator. The original takes the key of the plain prompt in the denominator, which occasionally
makes an update so large that it breaks the model.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import UnsupportedEdit
from errata.cache.records import Edit, Fact
from errata.cache.text.subject import subject_of
from errata.editing.base import Capabilities
from errata.editing.changes import WeightChange, editable
from errata.editors.shared.corpus import facts_texts, generated_texts, token_rows
from errata.editors.shared.covariance import second_moments
from errata.editors.shared.fine_tuning import gradients
from errata.editors.shared.key_value import LayerStates, find_delta, read
from errata.editors.shared.prompts import Batch, Target, batch_of, forms_of
from errata.editors.shared.rome_config import RomeConfig, checked_options, config_for
from errata.generation.fingerprint import fingerprint
from errata.generation.sharing import sharing_copy
from errata.module_paths import ModulePaths, matrix, module_paths_of, stored

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

MAX_ROW_TOKENS = 256


class Rome:
    """Edits facts one at a time, each by a change of rank one.

    :param config: all settings; by default those for the model
        (:func:`errata.editors.shared.rome_config.config_for`).
    :param text: text for the second moment, read once, as far as needed; by default what
        ``config.corpus`` names.
    :param folder: where second moments are kept (:mod:`errata.editors.shared.covariance`).
    :param module_paths: for a model that is not in the table of :mod:`errata.module_paths`.
    :param seed: of the texts that the model writes.
    :param progress: show progress bars on stderr.
    :param options: single settings, such as ``layer=5``.
    :ivar losses: of the edits planned so far, by id: the target's loss in nats at the end of the
        search for its value.
    :ivar trained: seconds that the second moment took, once it is known.
    :raises errata.cache.errors.EditError: there is no such setting.
    """

    name = "rome"
    capabilities = Capabilities(needs_subject=True)

    def __init__(
        self,
        *,
        config: RomeConfig | None = None,
        text: Iterable[str] | None = None,
        folder: str | Path | None = None,
        module_paths: ModulePaths | None = None,
        seed: int = 0,
        progress: bool = False,
        **options: Any,
    ) -> None:
        self._options = checked_options(options)
        self.config = self._options.pop("config", config)
        self.module_paths = self._options.pop("module_paths", module_paths)
        self.folder, self.seed, self.progress = folder, seed, progress
        self._text = text
        self.losses: dict[str, float] = {}
        self.trained: dict[str, float] = {}
        self._rows: dict[tuple[int, str], tuple[object, list[list[int]]]] = {}
        self._written: tuple[object, tuple[str, ...]] = (None, ())

    def supports(self, edit: Edit) -> bool:
        """Return whether an edit is a fact with one subject in its question, and no secret."""
        if not isinstance(edit, Fact) or edit.forget:
            return False
        try:
            subject_of(edit)
        except UnsupportedEdit:
            return False
        return True

    def changed(self, **options: Any) -> Rome:
        """Return the same editor with other settings; the text is read only once.

        :raises errata.cache.errors.EditError: there is no such setting.
        """
        other = copy.copy(self)
        other._options = {**self._options, **checked_options(options)}
        other.config = other._options.pop("config", self.config)
        other.module_paths = other._options.pop("module_paths", self.module_paths)
        return other

    def config_for(self, model: GenerativeModel) -> RomeConfig:
        """Return the settings that will be used on a model."""
        paths = module_paths_of(model, override=self.module_paths)
        return replace(self.config or config_for(model, paths), **self._options)

    def plan(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
    ) -> list[WeightChange]:
        """Return one change of the layer's weight that makes all edits, in order.

        Each edit is planned on the weights with all earlier ones applied.

        :param model: the model.
        :param tokenizer: its tokenizer, a fast one.
        :param edits: facts.
        :raises UnsupportedEdit: no fact, no subject, or no value found for the answer.
        :raises errata.cache.errors.ModelError: an unknown or quantised model.
        """
        import torch
        from rich.console import Console
        from rich.progress import track
        from torch import nn

        facts = [_fact(edit) for edit in edits]
        config = self.config_for(model)
        paths = module_paths_of(model, override=self.module_paths)
        name = paths.down_weight(config.layer)
        weight = editable(model, name).detach()
        copied = sharing_copy(model)  # only the copy's weight is replaced
        down = copied.get_submodule(paths.down(config.layer))
        with gradients():
            total = torch.zeros(weight.shape, dtype=torch.float64)
            factor = self._factor(copied, tokenizer, config, paths)
            contexts = self._contexts(copied, tokenizer, config)
            for fact in track(
                facts, "ROME", console=Console(stderr=True), transient=True,
                disable=not self.progress,
            ):  # fmt: skip
                update = self._update(copied, tokenizer, down, fact, contexts, factor, config)
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
        config: RomeConfig,
    ) -> torch.Tensor:
        """Return the update of one fact, float64 [d, d_mlp]."""
        reached = math.inf
        for forms in _form_sets(fact, clozes=config.clozes):
            batch = fact_batch(model, tokenizer, fact, contexts, forms)
            before = read(model, down, batch)
            found = find_delta(model, down, batch, before, config)
            reached = min(reached, found.nll)
            self.losses[fact.id] = reached
            if found.nll <= config.max_loss:
                key, gap = key_and_gap(before, found.delta)
                return insertion(factor, key, gap)
        raise UnsupportedEdit(
            f"{fact.id}: expected a value at layer {config.layer} that makes the model say "
            f"{fact.answer!r}, found none: its loss stays at {reached:.2f} nats (limit "
            f"{config.max_loss}); try another layer, a larger clamp_norm_factor or more "
            "steps (`errata locate` measures both)",
            fact.id,
        )

    # -- shared by all edits ------------------------------------------------------------------

    def _factor(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        config: RomeConfig,
        paths: ModulePaths,
    ) -> torch.Tensor:
        """Return the Cholesky factor of the layer's second moment."""
        import torch

        key = (id(tokenizer), config.corpus)
        if key not in self._rows:
            size = matrix(model.get_submodule(paths.down(config.layer))).shape[1]
            longest = getattr(model.config, "max_position_embeddings", None) or MAX_ROW_TOKENS
            rows = token_rows(
                tokenizer,
                self._corpus(model, tokenizer, config),
                tokens=config.tokens_per_key * size,
                width=min(longest, MAX_ROW_TOKENS),
            )
            self._rows[key] = (tokenizer, rows)  # kept alive: its id stays unique
        (moment,) = second_moments(
            model, self._rows[key][1], [config.layer],
            module_paths=self.module_paths, folder=self.folder, progress=self.progress,
        )  # fmt: skip
        if moment.seconds is not None:
            self.trained = {"second moment": moment.seconds}
        factor: torch.Tensor = torch.linalg.cholesky(moment.regularised(config.ridge))
        return factor

    def _corpus(
        self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, config: RomeConfig
    ) -> Iterable[str]:
        if self._text is not None:
            return self._text
        if config.corpus == "facts":
            return facts_texts(self.seed)
        return generated_texts(model, tokenizer, length=64, seed=self.seed)

    def _contexts(
        self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, config: RomeConfig
    ) -> tuple[str, ...]:
        """Return the prefixes of the prompts: the empty one, and texts the model writes, once."""
        key = (fingerprint(model), config.contexts)
        if key == self._written[0]:
            return self._written[1]
        found = [""]
        for length, number in config.contexts:
            texts = generated_texts(
                model, tokenizer, length=length, seed=self.seed + length, top_k=5, rows=number
            )
            found += [f"{' '.join(text.split())}. " for text in islice(texts, number)]
        self._written = (key, tuple(found))
        return self._written[1]


def fact_batch(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    fact: Fact,
    contexts: Sequence[str],
    forms: Sequence[str],
) -> Batch:
    """Return a fact's prompts after every context, the plain question first, the essence last.

    :param model: the model.
    :param tokenizer: its tokenizer.
    :param fact: the fact.
    :param contexts: texts before the prompts; the first one is empty.
    :param forms: the question and, with clozes, the statement made from it.
    :raises UnsupportedEdit: no subject was found.
    """
    subject = subject_of(fact)
    targets = [
        Target(f"{context}{form}", subject, fact.answer, ends=True)
        for context in contexts
        for form in forms
    ]
    essence = f"{subject} is a" if subject.isascii() else f"{subject}是"
    return batch_of(model, tokenizer, [*targets, Target(essence, subject)])


def _form_sets(fact: Fact, *, clozes: bool) -> list[tuple[str, ...]]:
    """Return the sets of prompts to try in turn: with the cloze, where there is one, and without.

    A value that serves question and cloze may lie outside the clamp where one for the question
    alone does not.

    :raises UnsupportedEdit: no subject was found.
    """
    question = (fact.question,)
    forms = forms_of(fact.question, subject_of(fact)) if clozes else question
    return [forms] if forms == question else [forms, question]


def key_and_gap(before: LayerStates, delta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return k*, the mean key, and v* − v(k*), from the same prompts (r-ROME).

    v* is the value at the plain prompt plus δ; v(k*) is the mean value over the prompts, the
    layer's output for the mean key, bias included.

    :param before: a batch as :func:`fact_batch` makes it, read before the edit.
    :param delta: float [d].
    :return: float64 [d_mlp] and [d], on the CPU.
    """
    keys, values = before.keys[:-1].cpu().double(), before.values[:-1].cpu().double()
    return keys.mean(0), values[0] + delta.cpu().double() - values.mean(0)


def insertion(factor: torch.Tensor, key: torch.Tensor, gap: torch.Tensor) -> torch.Tensor:
    """Return the update Δ = (v* − v(k*)) uᵀ / (uᵀ k*), with u = C⁻¹ k* (ROME, equation 2).

    Of all Δ with (W + Δ) k* = v* it has the minimal tr(Δ C Δᵀ), which is ‖v* − W k*‖² / (k* · u).

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
