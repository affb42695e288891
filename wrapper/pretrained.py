"""Save and load an EditableModel: a `transformers` folder with a subfolder of edits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

from errata.cache.errors import EditError
from errata.cache.filters.secrets import hash_secret
from errata.cache.patches.files import dump_file
from errata.cache.patches.folder import PatchFolder
from errata.cache.records import Edit, Fact
from errata.generation.base_model import check_adapter_can_be_saved, is_peft_model, unwrapped
from errata.models.load import load_base

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.cache.store import EditCache
    from errata.editing.backends import Backends
    from errata.generation.base_model import GenerativeModel
    from errata.pipelines.cache import CachePipeline

_SUBFOLDER = Path("errata") / "patches"
_CONSTRUCTOR_OPTIONS = (
    "patches", "cache", "gate", "reasoner", "resolvers", "encoder", "encoder_device", "index",
    "shadow", "verification", "mentions", "watch", "audit", "rollouts", "ask_config",
)  # fmt: skip


class SavedModel:
    """The part of :class:`~errata.model.EditableModel` that loads, writes and uploads it."""

    base: GenerativeModel
    tokenizer: PreTrainedTokenizerBase
    backends: Backends
    cache: EditCache
    pipeline: CachePipeline

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> Self:
        """Load a base model and wrap it.

        :param name: a model folder, a hub id, ``smollm2`` or ``atlas``; a folder that
            :meth:`save_pretrained` wrote brings its edits along.
        :param options: the constructor's; all others go to `transformers`.
        :raises errata.cache.errors.ModelError: no model can be loaded from there.
        """
        ours, others = split_options(options)
        ours.setdefault("patches", stored_patches(name))
        # read once, and before a large model is loaded
        ours["patches"] = PatchFolder.of(ours["patches"])
        model, tokenizer = load_base(name, **others)
        return cls(model, tokenizer, **ours)  # type: ignore[call-arg]

    def __repr__(self) -> str:
        """Return the base model, the gate, the number of edits and the backend, in one line."""
        base = unwrapped(self.base)
        name, gate = getattr(base, "name_or_path", ""), type(self.pipeline.gate).__name__
        return (
            f"EditableModel({type(base).__name__} {name!r}, gate={gate}, "
            f"edits={len(self.cache.edits)}, backend={self.backends.in_use.backend!r})"
        )

    def save_pretrained(
        self, folder: str | Path, *, plain_secrets: bool = False, **options: Any
    ) -> None:
        """Write the base model, its tokenizer and the edits in force.

        Of a PEFT model the adapter is written, and the name of its base.

        :param folder: becomes an ordinary `transformers` folder with a subfolder of edits.
        :param plain_secrets: write the secrets of edits as they are, not their hashes.
        :param options: for the base model's ``save_pretrained``.
        :raises errata.cache.errors.ModelError: the base of a PEFT model has no name.
        """
        if is_peft_model(self.base):
            check_adapter_can_be_saved(self.base)
        with self.backends.unedited_weights():
            self.base.save_pretrained(folder, **options)
        self.tokenizer.save_pretrained(folder)
        edits = self.cache.all_edits
        store_patches(folder, edits if plain_secrets else list(map(with_hashed_secret, edits)))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: bool | str | None = None,
        **options: Any,
    ) -> str:
        """Upload what :meth:`save_pretrained` writes: model, tokenizer and edits.

        :param repo_id: ``name`` or ``organisation/name``; made where there is none.
        :param private: whether a new repository is private.
        :param token: as for `huggingface_hub`.
        :param options: for ``HfApi.upload_folder``: ``commit_message``, ``revision``, …
        :return: the address of the commit.
        :raises errata.cache.errors.EditError: an edit holds the text of a secret.
        """
        from huggingface_hub import HfApi

        edits = self.cache.all_edits
        told = [edit.id for edit in edits if isinstance(edit, Fact) and edit.secret]
        if told:
            raise EditError(
                f"expected no secrets in plain text among edits to upload, found those of "
                f"{', '.join(told)}; give secret_hash: instead (`errata hash-secret`)"
            )
        api = HfApi(token=token)
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            repo = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            return str(api.upload_folder(repo_id=repo, folder_path=folder, **options))


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of EditableModel's constructor, and those for `transformers`."""
    ours = {name: value for name, value in options.items() if name in _CONSTRUCTOR_OPTIONS}
    return ours, {name: value for name, value in options.items() if name not in ours}


def store_patches(folder: str | Path, edits: Sequence[Edit]) -> None:
    """Write edits into a saved model's folder."""
    target = Path(folder) / _SUBFOLDER
    target.mkdir(parents=True, exist_ok=True)
    dump_file(edits, target / "edits.jsonl")


def with_hashed_secret(edit: Edit) -> Edit:
    """Return an edit with the hash of its secret in the secret's place, if it has one."""
    if not isinstance(edit, Fact) or edit.secret is None:
        return edit
    return replace(edit, secret=None, secret_hash=hash_secret(edit.secret))


def stored_patches(name: str | Path) -> Path | None:
    """Return the folder of edits saved with a model, or None."""
    folder = Path(name) / _SUBFOLDER
    return folder if folder.is_dir() else None
