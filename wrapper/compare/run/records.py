"""Records of a run: JSON lines, one a case, from which every table and figure is made."""

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
from errata.compare.inputs.digest import json_digest

RUN, RECORDS = "run.json", "records.jsonl"
FORMAT = 2

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordKey:
    """The measurement that a record is of.

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
    def of(cls, record: Mapping[str, Any]) -> RecordKey:
        """Return a record's key."""
        return cls(*(record[name] for name in ("backend", "mode", "size", "seed", "case")))


class Run:
    """A folder of records, all of one protocol.

    :param folder: its path; :meth:`begin` creates it.
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
        """Open the run for writing; create it if there is none.

        :param protocol: see :meth:`errata.compare.run.settings.Settings.protocol`.
        :param backends: the backends that join, each with its options.
        :param parts: fingerprints of the backends' gates and reasoners.
        :raises ErrataError: the folder holds a run of another protocol, or one in which a backend
            had other options or parts; names what differs.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # As JSON gives it back: tuples become lists, so that both sides compare equal.
        plain, joining, joining_parts = (
            json.loads(json.dumps(dict(each or {}))) for each in (protocol, backends, parts)
        )
        path = self.folder / RUN
        known = self.about() if path.exists() else {"protocol": plain, "backends": {}}
        _refuse_others(path, known, plain, joining)
        _refuse_parts(path, known.get("parts", {}), joining_parts)
        about = {
            "format": FORMAT,
            "fingerprint": json_digest(plain),
            "protocol": plain,
            "backends": {**known["backends"], **joining},
            "parts": {**known.get("parts", {}), **joining_parts},
        }
        text = json.dumps(about, indent=1, ensure_ascii=False) + "\n"
        write_atomically(path, text.encode())
        self._about = about
        self._truncate_partial_line()

    def about(self) -> dict[str, Any]:
        """Return the contents of ``run.json``: format, fingerprint, protocol, backends, parts.

        :raises ErrataError: there is no run in the folder, or ``run.json`` is damaged.
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
        """Yield every record, in the order they were written; a partial last line is skipped.

        :raises ErrataError: a line is damaged; names file and line.
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

    def done(self) -> set[RecordKey]:
        """Return the keys of the recorded cases."""
        return {RecordKey.of(record) for record in self.records() if record["type"] == "case"}

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record and sync it to disk."""
        line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        with open(self.folder / RECORDS, "ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def _truncate_partial_line(self) -> None:
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
    recorded = known["protocol"]
    names = [name for name in {**recorded, **protocol} if recorded.get(name) != protocol.get(name)]
    if names:
        differences = "; ".join(
            f"{name}: {json.dumps(recorded.get(name), ensure_ascii=False)} there, "
            f"{json.dumps(protocol.get(name), ensure_ascii=False)} now"
            for name in names
        )
        raise ErrataError(
            f"{path}: expected a run of the same settings, data and model, found others "
            f"({differences}); write to another folder with --out, or repeat the settings of this "
            "one"
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
                f"{path}: expected {name} with the {_listed(known[name])}, found the "
                f"{_listed(parts)}: they were changed since; write to another folder with --out, "
                f"or take the lines of {name} out of {RECORDS} and its parts out of {RUN}"
            )


def _listed(parts: Mapping[str, str]) -> str:
    return ", ".join(f"{part} {which}" for part, which in parts.items())
