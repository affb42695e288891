"""T-Patcher: one neuron beside the last feed-forward layer for every token that comes out wrong.

Huang et al. 2023, "Transformer-Patcher: One Mistake Worth One Neuron"
(https://arxiv.org/abs/2301.09785). The neurons are a branch of their own, added to the layer's
output: where none fires, the output is the base model's bit for bit, which columns appended to the
layer's matrices would not guarantee. So the layer may have a gate.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from errata.cache.records import Edit
from errata.editing.base import Capabilities
from errata.editing.changes import Change, applied
from errata.editors.shared.examples import NO_TARGET, Example, Padded, examples_of, padded
from errata.editors.shared.fine_tuning import gradients
from errata.editors.shared.side_memory import (
    MemoryChange,
    SeparableEditor,
    SeparableMemory,
    check_plain,
    memory_in,
    module_inputs,
)
from errata.editors.shared.stored_queries import QueryEditor
from errata.generation.random_state import forked_rng
from errata.generation.sharing import sharing_copy
from errata.module_paths import ModulePaths

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True, kw_only=True)
class TPatcherConfig:
    """Hyperparameters of T-Patcher; see Huang et al. 2023, section 3 and appendix.

    :param steps: of Adam, at most, for the neurons of one edit.
    :param check_every: steps after which it is looked whether they suffice: every token right, the
        loss below ``target_loss``, no neuron active on a stored query.
    :param learning_rate: of Adam.
    :param weight_decay: of Adam.
    :param clip: largest norm of the gradient.
    :param activation_weight: of the loss that keeps a neuron active at its token (a).
    :param memory_weight: of the losses that keep it silent at stored queries (m).
    :param activation_margin: θ; at a neuron's token its activation is to be above this.
    :param memory_margin: β; at stored queries it is to be below this.
    :param gap: γ; by which it is to be larger at its token than at stored queries.
    :param top: stored queries that the memory losses look at, those of the largest activation.
    :param queries: stored queries, drawn from running text; those of earlier edits come on top.
    :param value_scale: norm that a neuron's value begins with.
    :param target_loss: mean loss of an answer, in nats a token, that suffices.
    :param rounds: neurons are added for tokens that are wrong still, so many times at most.
    :param corpus: text of the stored queries: sampled from the ``model``, or atlas' training rows.
    :param seed: of the values that training starts from, and of the draw of queries.
    """

    steps: int = 400
    check_every: int = 25
    learning_rate: float = 0.01
    weight_decay: float = 0.01
    clip: float = 5.0
    activation_weight: float = 1.0
    memory_weight: float = 10.0
    activation_margin: float = 0.0
    memory_margin: float = -3.0
    gap: float = 3.0
    top: int = 100
    queries: int = 4000
    value_scale: float = 10.0
    target_loss: float = 0.05
    rounds: int = 5
    corpus: Literal["model", "facts"] = "model"
    seed: int = 0


class Patches(SeparableMemory):
    """Neurons with their values: Σ ReLU(q · k + b) v is added to the layer's output.

    :param keys: k, float32 [neurons, d].
    :param biases: b, float32 [neurons].
    :param values: v, float32 [neurons, d].
    :param queries: q, the layer's input at the token that each was made for, float32 [neurons, d].
    :param ids: of the edit of each.
    """

    def __init__(
        self,
        keys: torch.Tensor,
        biases: torch.Tensor,
        values: torch.Tensor,
        queries: torch.Tensor,
        ids: Iterable[str],
    ) -> None:
        self.keys, self.biases, self.values, self.queries = keys, biases, values, queries
        self.ids = tuple(ids)

    def activations(self, query: torch.Tensor) -> torch.Tensor:
        """Return q · k + b before the ReLU, float32 [..., neurons].

        :param query: float [..., d].
        """
        keys, biases = self.keys.to(query.device), self.biases.to(query.device)
        return query.float() @ keys.T + biases

    def __call__(self, query: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """Return the output with what the active neurons add, the output itself without any."""
        import torch

        active = self.activations(query).relu()
        fires = (active > 0).any(-1, keepdim=True)
        if not bool(fires.any()):
            return output
        added = (active @ self.values.to(active.device)).to(output.dtype)
        return torch.where(fires, output + added, output)

    def joined(self, later: Patches) -> Patches:
        """Return the neurons of both."""
        import torch

        others = later.tensors()
        joined = {name: torch.cat([part, others[name]]) for name, part in self.tensors().items()}
        return Patches.of(joined, {"ids": (*self.ids, *later.ids)})

    def without(self, ids: Collection[str]) -> Patches | None:
        """Return the neurons of the other edits, None where none remain."""
        kept = [i for i, one in enumerate(self.ids) if one not in ids]
        if not kept:
            return None
        parts = {name: part[kept] for name, part in self.tensors().items()}
        return Patches.of(parts, {"ids": [self.ids[i] for i in kept]})

    def detached(self) -> Patches:
        """Return the same neurons without gradients, on the CPU."""
        return Patches.of(
            {name: part.detach().cpu().clone() for name, part in self.tensors().items()},
            self.notes(),
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return keys, biases, values and queries."""
        names = ("keys", "biases", "values", "queries")
        return {name: getattr(self, name) for name in names}

    def notes(self) -> dict[str, Any]:
        """Return the ids of the edits."""
        return {"ids": list(self.ids)}

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor], notes: Mapping[str, Any]) -> Patches:
        """Return the neurons of these tensors and notes."""
        return cls(**tensors, ids=notes["ids"])


class TPatcher(QueryEditor[TPatcherConfig], SeparableEditor[TPatcherConfig]):
    """Edits facts one after another, each by the neurons of its wrong tokens.

    Options are those of :class:`TPatcherConfig`; the other parameters, those of
    :class:`~errata.editors.shared.stored_queries.QueryEditor`.
    """

    name = "tpatcher"
    config_class = TPatcherConfig
    memory_class = Patches
    capabilities = Capabilities(separable=True, needs_text=True)

    def plan_after(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
        earlier: Sequence[Change],
    ) -> list[MemoryChange]:
        """Return one change with the neurons of all edits; none where the model is right already.

        :param earlier: the changes that are in the model already, of this editor.
        :raises errata.cache.errors.UnsupportedEdit: an edit is no fact, or one to be forgotten.
        :raises errata.cache.errors.ModelError: an unknown or quantised model.
        """
        import torch

        paths, config = self._paths(model), self.config_for(model)
        place = _Place(paths.down(paths.layers - 1), paths.up(paths.layers - 1), paths)
        check_plain(model, place.name, place.source)
        examples = examples_of(model, tokenizer, edits)
        known = memory_in(earlier, Patches, place.name)
        copied, found = sharing_copy(model), None
        with gradients(), forked_rng(model.device):
            torch.manual_seed(config.seed)
            # patches do not change what they read
            stored = self._queries(copied, tokenizer, place.source, config)
            for edit, example in zip(edits, examples, strict=True):
                for _ in range(config.rounds):
                    before = () if found is None else (MemoryChange(*place.with_(found)),)
                    old = [each.queries for each in (known, found) if each is not None]
                    queries = torch.cat([stored, *old])
                    with applied(copied, before):
                        new = _neurons(copied, place, edit.id, example, queries, config)
                    if new is None:
                        break
                    found = new if found is None else found.joined(new)
        return [] if found is None else [MemoryChange(*place.with_(found))]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the neurons are: beside ``name``, reading what ``source`` reads."""

    name: str
    source: str
    paths: ModulePaths

    def with_(self, patches: Patches) -> tuple[str, Patches, str]:
        return self.name, patches, self.source


def _neurons(
    model: GenerativeModel,
    place: _Place,
    edit: str,
    example: Example,
    stored: torch.Tensor,
    config: TPatcherConfig,
) -> Patches | None:
    """Return a trained neuron for each token of an answer that comes out wrong; None without any.

    :param model: with the patches so far.
    :param place: of the neurons.
    :param edit: its id.
    :param example: prompt and answer.
    :param stored: queries at which they are to be silent, float32 [queries, d].
    :param config: settings.
    """
    import torch

    batch = padded(model, [example])
    told = batch.labels[0] != NO_TARGET
    labels = batch.labels[0, told]
    queries = module_inputs(model, [place.source], batch.inputs, 1)[place.source][0, told].float()
    with _logits_of(model, place, batch, queries) as logits_with:
        with torch.no_grad():
            wrong = logits_with(None).argmax(-1) != labels
        if not bool(wrong.any()):
            return None
        own, memory = queries[wrong], stored.to(queries.device)
        neurons = _Trained(own, config.value_scale, edit)
        adam = torch.optim.Adam(
            neurons.parameters, lr=config.learning_rate, weight_decay=config.weight_decay
        )
        for step in range(1, config.steps + 1):
            patches = neurons.patches()
            logits = logits_with(patches).float()
            nll = torch.nn.functional.cross_entropy(logits, labels)
            at_own = patches.activations(own).diagonal()
            at_memory = patches.activations(memory)
            loss = nll + _losses(at_own, at_memory, config)
            if step % config.check_every == 0 and bool(
                (logits.argmax(-1) == labels).all()
                and nll < config.target_loss
                and at_memory.max() <= 0
            ):
                break
            adam.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(neurons.parameters, config.clip)
            adam.step()
        return neurons.patches().detached()


def _losses(at_own: torch.Tensor, at_memory: torch.Tensor, config: TPatcherConfig) -> torch.Tensor:
    """Return a l_a + m (l_m1 + l_m2) (T-Patcher, equations 5 to 8).

    :param at_own: each neuron's activation at its own token, float32 [neurons].
    :param at_memory: at the stored queries, float32 [queries, neurons].
    """
    active = _largest(config.activation_margin - at_own[:, None].T, _ACTIVE)
    silent = _largest(at_memory - config.memory_margin, config.top)
    apart = _largest(at_memory - at_own + config.gap, config.top)
    return config.activation_weight * active + config.memory_weight * (silent + apart)


_ACTIVE = 5  # tokens of an edit that the activation loss looks at, as in the paper


def _largest(values: torch.Tensor, count: int) -> torch.Tensor:
    """Return S(x; k): the mean of the k largest exp(x) down each column, averaged over columns."""
    return values.topk(min(count, len(values)), dim=0).values.exp().mean()


class _Trained:
    """Neurons in training: k begins as q / ‖q‖², so that the activation at q is 1.

    :param queries: q, float32 [neurons, d].
    :param scale: of the values, learned with them.
    :param edit: its id.
    """

    def __init__(self, queries: torch.Tensor, scale: float, edit: str) -> None:
        import torch

        self.queries, self.edit = queries.detach(), edit
        self.keys = (
            (queries / queries.square().sum(1, keepdim=True)).detach().clone().requires_grad_()
        )
        self.biases = torch.zeros(len(queries), device=queries.device, requires_grad=True)
        drawn = torch.randn(queries.shape).to(queries.device)
        self.directions = (drawn / drawn.norm(dim=1, keepdim=True)).requires_grad_()
        full = torch.full((len(queries), 1), scale, device=queries.device)
        self.scales = full.requires_grad_()
        self.parameters = [self.keys, self.biases, self.directions, self.scales]

    def patches(self) -> Patches:
        """Return the neurons of the moment, with gradients."""
        ids = [self.edit] * len(self.queries)
        values = self.scales * self.directions
        return Patches(self.keys, self.biases, values, self.queries, ids)


@contextmanager
def _logits_of(
    model: GenerativeModel, place: _Place, batch: Padded, queries: torch.Tensor
) -> Iterator[Callable[[Patches | None], torch.Tensor]]:
    """Yield what returns the logits at an answer's positions, with further neurons, or without.

    Behind the last feed-forward layer come a norm and the head only. Where these two, applied to
    the residual stream, give the model's logits, nothing else is computed again; where they do not
    (a scaled head, capped logits, a norm behind the layer), the whole model is.
    """
    import torch

    told = batch.labels[0] != NO_TARGET
    stream: list[torch.Tensor] = []
    handle = model.get_submodule(place.paths.norm).register_forward_pre_hook(
        lambda _, args: stream.append(args[0][0, told].detach())
    )
    try:
        with torch.no_grad():
            plain = model(**batch.inputs, use_cache=False).logits[0, told]
    finally:
        handle.remove()
    norm = model.get_submodule(place.paths.norm)
    head = model.get_submodule(place.paths.head)

    def by_tail(patches: Patches | None) -> torch.Tensor:
        hidden = stream[0] if patches is None else patches(queries, stream[0])
        logits: torch.Tensor = head(norm(hidden))
        return logits

    def by_model(patches: Patches | None) -> torch.Tensor:
        with applied(model, [] if patches is None else [MemoryChange(*place.with_(patches))]):
            logits: torch.Tensor = model(**batch.inputs, use_cache=False).logits[0, told]
        return logits

    with torch.no_grad():
        short = bool(stream) and not place.paths.post_norm and by_tail(None).shape == plain.shape
        short = short and torch.allclose(by_tail(None), plain, rtol=1e-3, atol=1e-3)
    yield by_tail if short else by_model
