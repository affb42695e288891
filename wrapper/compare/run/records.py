"""A run's records: JSON lines, one a case, from which every table and figure is made."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errata.cache.errors import ErrataError
from errata.cache.storage.atomic import write_atomically
from errata.cache.storage.json_lines import json_lines
from errata.compare.run.settings import fingerprint

RUN, RECORDS = "run.json", "records.jsonl"
FORMAT = 2

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """Which measurement a record is.

    :param backend: its name.
    :param mode: single, batch or sequential.
    :param size: edits in force together.
    :param seed: of the draw of cases.
    :param case: its id.
    """

    backend: str
    mode: str
    size: int
    seed: int
    case: str

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Key:
        """Return a record's key."""
        return cls(*(record[name] for name in ("backend", "mode", "size", "seed", "case")))


class Run:
    """A folder of records. A run is known by the fingerprint of its protocol; others are refused.

    :param folder: where it lies, or will.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._about: dict[str, Any] | None = None

    def begin(
        self,
        protocol: Mapping[str, Any],
        backends: Mapping[str, Any],
        parts: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """Open the run to write, or begin it.

        :param protocol: see :meth:`errata.compare.run.settings.Settings.protocol`.
        :param backends: the backends that are to join, each with its options.
        :param parts: what tells a backend's gate and reasoner from others, of those that have them.
        :raises ErrataError: the folder holds a run of another protocol, or one in which a backend
            had other options or parts; says what differs.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # As JSON gives it back: tuples become lists, so that both sides compare equal.
        plain = json.loads(json.dumps(dict(protocol)))
        joining, own = (json.loads(json.dumps(dict(one or {}))) for one in (backends, parts))
        path = self.folder / RUN
        known = self.about() if path.exists() else {"protocol": plain, "backends": {}}
        _refuse_others(path, known, plain, joining)
        _refuse_parts(path, known.get("parts", {}), own)
        about = {
            "format": FORMAT,
            "fingerprint": fingerprint(plain),
            "protocol": plain,
            "backends": {**known["backends"], **joining},
            "parts": {**known.get("parts", {}), **own},
        }
        text = json.dumps(about, indent=1, ensure_ascii=False) + "\n"
        write_atomically(path, text.encode())
        self._about = about
        self._mend()

    def about(self) -> dict[str, Any]:
        """Return what ``run.json`` says: format, fingerprint, protocol, backends, their parts.

        :raises ErrataError: there is no run in the folder, or its description is damaged.
        """
        if self._about is None:
            path = self.folder / RUN
            try:
                about = json.loads(path.read_text(encoding="utf-8"))
                if about["format"] != FORMAT:
                    raise ErrataError(
                        f"{path}: expected a run of format {FORMAT}, found {about['format']}; "
                        "run the comparison again with this errata"
                    )
                about = {**about, "protocol": about["protocol"], "backends": about["backends"]}
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ErrataError(
                    f"expected a run of `errata compare` at {self.folder}, found: {error}"
                ) from error
            self._about = about
        return self._about

    def records(self) -> Iterator[Record]:
        """Yield every record, in the order they were made.

        :raises ErrataError: a line is damaged; names file and line. A last line cut short by a
            kill is passed over.
        """
        path = self.folder / RECORDS
        if not path.exists():
            return

        def on_error(number: int, error: ValueError | RecursionError) -> None:
            raise ErrataError(
                f"{path}:{number}: expected a record in JSON, found: {error}; take the line out, "
                "and the case is measured again"
            ) from error

        with open(path, encoding="utf-8") as file:
            whole = (line for line in file if line.endswith("\n"))
            for _, record in json_lines(enumerate(whole, start=1), on_error):
                yield record

    def done(self) -> set[Key]:
        """Return the keys of the cases that are there."""
        return {Key.of(record) for record in self.records() if record["type"] == "case"}

    def write(self, record: Mapping[str, Any]) -> None:
        """Add a record; on return it is on disk."""
        line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        with open(self.folder / RECORDS, "ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def _mend(self) -> None:
        """Cut off a last line that a kill left half written."""
        path = self.folder / RECORDS
        if not path.exists():
            return
        with open(path, "rb+") as file:
            data = file.read()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                file.truncate(whole)


def _refuse_others(
    path: Path, known: Mapping[str, Any], protocol: Mapping[str, Any], joining: Mapping[str, Any]
) -> None:
    there = known["protocol"]
    names = [name for name in {**there, **protocol} if there.get(name) != protocol.get(name)]
    if names:
        told = "; ".join(
            f"{name}: {json.dumps(there.get(name), ensure_ascii=False)} there, "
            f"{json.dumps(protocol.get(name), ensure_ascii=False)} now"
            for name in names
        )
        raise ErrataError(
            f"{path}: expected a run of the same settings, data and model, found others ({told}); "
            "write to another folder with --out, or repeat the settings of this one"
        )
    for name, options in joining.items():
        if name in known["backends"] and known["backends"][name] != options:
            raise ErrataError(
                f"{path}: expected {name} with the options {known['backends'][name]}, found "
                f"{options}; write to another folder with --out"
            )


def _refuse_parts(path: Path, known: Mapping[str, Any], joining: Mapping[str, Any]) -> None:
    for name, parts in joining.items():
        if known.get(name, parts) != parts:
            raise ErrataError(
                f"{path}: expected {name} with the {_told(known[name])}, found the "
                f"{_told(parts)}: they were changed since; write to another folder with --out, or "
                f"take the lines of {name} out of {RECORDS} and its parts out of {RUN}"
            )


def _told(parts: Mapping[str, str]) -> str:
    return ", ".join(f"{part} {which}" for part, which in parts.items())
