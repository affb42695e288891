"""Files of second moments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from errata.cache.errors import StoreError
from errata.cache.storage.atomic import write_atomically

if TYPE_CHECKING:
    import torch

FORMAT = "errata second moments 2"


def moment_file(folder: Path, key: str) -> Path:
    """Return the file of the matrix with a digest."""
    return folder / f"{key}.safetensors"


def write_moments(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write matrices, the whole file or none of it."""
    from safetensors.torch import save

    path.parent.mkdir(parents=True, exist_ok=True)
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(contiguous, {"format": FORMAT, **metadata}))


def read_moments(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the matrices and the metadata of a file.

    :raises StoreError: it is damaged.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise StoreError(
                    f"expected {FORMAT!r} in {path}, found {metadata.get('format')!r}; "
                    "delete the file"
                )
            return {name: file.get_tensor(name) for name in file.keys()}, metadata
    except StoreError:
        raise
    except Exception as error:  # safetensors' error class is private
        raise StoreError(
            f"expected the second moments of a layer in {path}, found: {error}; delete the file, "
            "it is computed again"
        ) from error
