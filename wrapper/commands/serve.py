"""``errata serve`` and ``errata new-key``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from errata.commands import opening
from errata.commands.options import (
    Cache,
    Encoder,
    Gate,
    Model,
    Patches,
    Reasoner,
    Resolvers,
    cache_folder,
    patches_folder,
    resolver_names,
)
from errata.commands.output import print_line, reports_errors
from errata.commands.progress import working

if TYPE_CHECKING:
    from errata.serve.access import Access
    from errata.serve.config import ServeConfig
    from errata.serve.engine import Engine
    from errata.serve.keys import KeyRing

LOOPBACK = ("127.0.0.1", "::1", "localhost")
PACKAGES = ("fastapi", "uvicorn", "httpx", "prometheus_client", "limits", "watchfiles")
"""What the extra ``serve`` brings."""


Upstream = Annotated[
    str | None,
    typer.Option(
        "--upstream",
        metavar="URL",
        help="An OpenAI-compatible server in place of a local model, such as "
        "http://127.0.0.1:8001/v1; its key is taken from ERRATA_UPSTREAM_KEY.",
    ),
]
Audit = Annotated[
    str | None,
    typer.Option(
        "--audit",
        metavar="FILE|URL",
        help="Log every decision here: an SQLite file, or the PostgreSQL database of all replicas.",
    ),
]
Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to listen on.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="The port.")]
ApiKeys = Annotated[
    Path | None,
    typer.Option("--api-keys", metavar="FILE", help="Hashes of callers' keys (new-key)."),
]
AdminKeys = Annotated[
    Path | None,
    typer.Option(
        "--admin-keys",
        metavar="FILE",
        help="Hashes of administrators' keys; without, a key for this run is printed.",
    ),
]
Rate = Annotated[
    str, typer.Option("--rate", metavar="RATE", help="Of one caller, such as 600/minute.")
]
Write = Annotated[
    bool, typer.Option("--write", help="Let administrators write patch files, not only propose.")
]


@reports_errors
def serve(
    model: Model = opening.ATLAS,
    upstream: Upstream = None,
    patches: Patches = None,
    cache: Cache = None,
    encoder: Encoder = None,
    gate: Gate = None,
    reasoner: Reasoner = None,
    resolvers: Resolvers = None,
    audit: Audit = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    api_keys: ApiKeys = None,
    admin_keys: AdminKeys = None,
    rate: Rate = "",
    write: Write = False,
) -> None:
    """Serve OpenAI-compatible endpoints whose answers the patches correct.

    In front of a local model, or of any OpenAI-compatible server: what no
    patch governs passes byte for byte. /admin is a page to see and correct
    answers. The folder of patches is followed. On another address than this
    machine's own, keys are required.

    Examples:
        errata serve --model smollm2 --patches patches/

        errata serve --upstream http://127.0.0.1:8001/v1 --audit audit.sqlite3

        errata serve --upstream https://api.example.com/v1 --host 0.0.0.0 --api-keys keys.txt
    """  # fmt: skip
    _require_packages()
    from errata.serve.access import Access, RateLimit
    from errata.serve.config import ServeConfig
    from errata.serve.keys import KeyRing

    _check_exposed(host, api_keys)
    config = ServeConfig(rate=rate)
    callers = None if api_keys is None else KeyRing.load(api_keys)
    admins, shown = _admins(admin_keys)
    access = Access(callers, admins, RateLimit(rate))
    folder = patches_folder(patches, model)
    if upstream is not None:
        made = _upstream(upstream, folder, cache, encoder, gate, resolvers, audit, config)
    else:
        made = _local(model, folder, cache, encoder, gate, reasoner, resolvers, audit, config)
    _run(made, access, config, host, port, shown, write)


def _local(
    model: str, folder: Path, cache: str | None, encoder: str | None, gate: str | None,
    reasoner: str | None, resolvers: str | None, audit: str | None, config: ServeConfig,
) -> Engine:  # fmt: skip
    from errata.model import EditableModel
    from errata.models.load import prepare
    from errata.serve.local import LocalEngine

    prepare(model)
    with working("loading the model"):
        opened = EditableModel.from_pretrained(
            model, patches=folder, cache=cache_folder(cache), encoder=opening.open_encoder(encoder),
            gate=gate, reasoner=reasoner, resolvers=resolver_names(resolvers), watch=True,
            audit=audit,
        )  # fmt: skip
        opened.encoder.encode(["warm"])
    return LocalEngine(opened, Path(model).name, config)


def _upstream(
    url: str, folder: Path, cache: str | None, encoder: str | None, gate: str | None,
    resolvers: str | None, audit: str | None, config: ServeConfig,
) -> Engine:  # fmt: skip
    from errata.decider import Decider
    from errata.serve.upstream import UpstreamEngine

    def supported(messages: object) -> str:
        raise NotImplementedError  # every call brings its own way to the upstream

    with working("opening the patches"):
        decider = Decider(
            folder, complete=supported, cache=cache_folder(cache),
            encoder=opening.open_encoder(encoder), gate=gate,
            resolvers=resolver_names(resolvers), watch=True, audit=audit, model_name=url,
        )  # fmt: skip
        decider.router.encoder.encode(["warm"])
    return UpstreamEngine(decider, url, config)


def _run(
    engine: Engine, access: Access, config: ServeConfig, host: str, port: int, shown: str,
    write: bool,
) -> None:  # fmt: skip
    import uvicorn

    from errata.serve.app import create_app

    app = create_app(engine, access, config, writable=write)
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print_line(f"OpenAI endpoints: {address}/v1")
    print_line(f"admin page: {address}/admin{f'#key={shown}' if shown else ''}")
    uvicorn.run(
        app, host=host, port=port, log_level="warning", access_log=False, server_header=False,
        timeout_graceful_shutdown=round(config.shutdown_seconds),
    )  # fmt: skip


def _admins(path: Path | None) -> tuple[KeyRing, str]:
    """Return the administrators' keys, and the key to print where one was made for this run."""
    from errata.serve.keys import KeyRing, digest_of, new_key

    if path is not None:
        return KeyRing.load(path), ""
    key = new_key()
    return KeyRing({"this run": digest_of(key)}), key


def _check_exposed(host: str, api_keys: Path | None) -> None:
    """Raise where all who reach the machine could call the model.

    :raises ErrataError: in that case.
    """
    from errata.cache.errors import ErrataError

    if host not in LOOPBACK and api_keys is None:
        raise ErrataError(
            f"expected --api-keys beside --host {host}, which others can reach, found none; make "
            "keys with `errata new-key`, or leave --host out"
        )


def _require_packages() -> None:
    """Raise where a package of the extra is missing.

    :raises MissingExtra: names it.
    """
    from errata.cache.errors import MissingExtra

    for name in PACKAGES:
        if importlib.util.find_spec(name) is None:
            raise MissingExtra(
                f"expected the package {name}, found none; run `pip install 'errata[serve]'`"
            )


@reports_errors
def new_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.")],
) -> None:
    """Make a key for `errata serve`: the key, and the line for the file of keys.

    The key is printed once and kept nowhere; the file has its hash.

    Examples:
        errata new-key ada
    """
    from errata.serve.keys import digest_of
    from errata.serve.keys import new_key as made

    key = made()
    print_line(key)
    print_line(f"{name}: {digest_of(key)}")
