"""The schema of a patch entry: keys, types, and error messages that say what to do.

Scalars of files come as text; Python callers may also pass ``3``, ``True`` or a date.
"""

from __future__ import annotations

import datetime
import difflib
import functools
import math
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from errata.cache.errors import PatchError, PatchFolderError
from errata.cache.records import Edit, PatchTests, SourceLocation
from errata.cache.text.normalize import compare

At = tuple[str | int, ...]
Schema = TypeVar("Schema", bound=BaseModel)

KEYS_SHOWN = 10
"""Wrong keys of one entry that are named; the others are counted."""

_PRIORITY_LIMIT = 1_000_000
_LENGTH_LIMIT = 100_000
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TRUE = frozenset({"true", "yes", "on"})
_FALSE = frozenset({"false", "no", "off"})


def _described(value: object) -> str:
    if isinstance(value, Mapping):
        return "a mapping (an unquoted colon makes one): put the text in quotes"
    if isinstance(value, (list, tuple)):
        return "a list: write one text"
    return f"{type(value).__name__} {reprlib.repr(value)}: put it in quotes"


def _any_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, found {_described(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        found = f"U+{ord(value[error.start]):04X}"
        raise ValueError(
            f"holds half a character ({found} alone is no text): write the whole character"
        ) from None
    return value


def _pattern(value: object) -> str:
    return _any_text(value) if value and isinstance(value, str) else _text(value)


def _secret(value: object) -> str:
    if not isinstance(value, str):  # not shown in the message
        raise ValueError("must be text: put it in quotes")
    return _text(value)


def _text(value: object) -> str:
    text = _any_text(value)
    if not text.strip():
        raise ValueError("is empty: write a text, or leave the key out where it is optional")
    return text


def _identifier(value: object) -> str:
    text = _text(value)
    if text.split() != [text]:
        raise ValueError(f"must be one word without spaces, found {reprlib.repr(text)}")
    return text


def _texts(value: object) -> object:
    return [value] if isinstance(value, str) else _list(value)


def _answers(value: object) -> object:
    if not isinstance(value, Mapping):
        raise ValueError(
            "must hold questions, each with what its answer has to contain, as in "
            f"'Who made you?': Example Labs; found {type(value).__name__}"
        )
    return dict(value)


def _list(value: object) -> list[object]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"must be a list of texts, found {_described(value)}")
    return list(value)


def _integer(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,12}", value.strip()):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"must be a whole number, found {reprlib.repr(value)}")


def _priority(value: object) -> int:
    number = _integer(value)
    if abs(number) > _PRIORITY_LIMIT:
        raise ValueError(f"must lie between ±{_PRIORITY_LIMIT}, found {reprlib.repr(number)}")
    return number


def _length(value: object) -> int:
    number = _integer(value)
    if not 1 <= number <= _LENGTH_LIMIT:
        raise ValueError(f"must lie between 1 and {_LENGTH_LIMIT}, found {reprlib.repr(number)}")
    return number


def _share(value: object) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 1:
        raise ValueError(
            "must be a share of conversations from 0 to 1, such as 0.1, "
            f"found {reprlib.repr(value)}"
        )
    return number


def _flag(value: object) -> bool:
    word = value.strip().casefold() if isinstance(value, str) else value
    if word is True or (isinstance(word, str) and word in _TRUE):
        return True
    if word is False or (isinstance(word, str) and word in _FALSE):
        return False
    raise ValueError(f"must be true or false, found {reprlib.repr(value)}")


def _date(value: object) -> datetime.date:
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value
    try:
        if isinstance(value, str) and _DATE.fullmatch(value.strip()):
            return datetime.date.fromisoformat(value.strip())
    except ValueError:
        pass
    raise ValueError(
        f"must be a date of the form 2027-01-31 that the calendar has, found {reprlib.repr(value)}"
    )


Text = Annotated[str, BeforeValidator(_text)]
AnyText = Annotated[str, BeforeValidator(_any_text)]
Pattern = Annotated[str, BeforeValidator(_pattern)]
SecretText = Annotated[str, BeforeValidator(_secret)]
Name = Annotated[str, BeforeValidator(_identifier)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_texts), Field(strict=False)]
Names = Annotated[tuple[Name, ...], BeforeValidator(_texts), Field(strict=False)]
Answers = Annotated[dict[Text, Text], BeforeValidator(_answers)]
Priority = Annotated[int, BeforeValidator(_priority)]
Length = Annotated[int, BeforeValidator(_length)]
Share = Annotated[float, BeforeValidator(_share)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Date = Annotated[datetime.date, BeforeValidator(_date)]


class TestsSchema(BaseModel):
    """The tests of a patch."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    __test__ = False

    fires: Texts = ()
    silent: Texts = ()
    expect: Answers = Field(default_factory=dict)


_NO_TESTS = TestsSchema()


class CommonSchema(BaseModel):
    """The keys that every kind of patch may have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Name | None = None
    source: Text | None = None
    author: Text | None = None
    tags: Texts = ()
    priority: Priority = 0
    supersedes: Names = ()
    valid_from: Date | None = Field(default=None, alias="from")
    until: Date | None = None
    rollout: Share = 1.0
    tests: TestsSchema = Field(default_factory=lambda: _NO_TESTS)  # a plain default is copied

    def common(self, where: SourceLocation | None) -> dict[str, Any]:
        """Return the keyword arguments of :class:`errata.cache.records.Edit`."""
        return {
            "id": self.id or "",
            "source": self.source,
            "author": self.author,
            "tags": self.tags,
            "priority": self.priority,
            "supersedes": self.supersedes,
            "valid_from": self.valid_from,
            "until": self.until,
            "rollout": self.rollout,
            "tests": PatchTests(
                self.tests.fires, self.tests.silent, tuple(self.tests.expect.items())
            ),
            "location": where,
        }

    def common_problems(self, question: str | None = None) -> list[PatchError]:
        """Return the contradictions between keys.

        :param question: the patch's own question, if it has one.
        """
        problems = self._contradictions(question)
        if self.valid_from and self.until and self.until < self.valid_from:
            problems.append(
                PatchError(
                    f"until ({self.until}) lies before from ({self.valid_from}), so the patch is "
                    "never in force: swap or correct the dates",
                    at=("until",),
                )
            )
        if self.id is not None and self.id in self.supersedes:
            problems.append(
                PatchError(
                    f"supersedes names the patch's own id {self.id!r}: name the one it replaces",
                    at=("supersedes",),
                )
            )
        return problems

    def _contradictions(self, question: str | None) -> list[PatchError]:
        """Return a problem for each silent example that the patch also says it fires on."""
        fires: list[tuple[str, At, str]] = [
            (text, ("tests", "fires", number), "under fires")
            for number, text in enumerate(self.tests.fires)
        ]
        if question is not None:
            fires.insert(0, (question, ("question",), "the patch's own question"))
        return [
            PatchError(
                f"tests: {text!r} is under silent and {what}: keep one",
                at=("tests", "silent", number),
                against=place,
            )
            for number, text in enumerate(self.tests.silent)
            for other, place, what in fires
            if compare(other, text) == "same"
        ]


def validate(schema: type[Schema], body: object, kind: str, where: SourceLocation | None) -> Schema:
    """Return the entry, validated.

    :param schema: the pydantic model of one kind.
    :param body: a patch entry.
    :param kind: the kind's name, for messages.
    :param where: the entry's place.
    :raises PatchError: naming every wrong key and type.
    """
    entry = _mapping(body, where)
    keys = keys_of(schema)
    problems = _unknown_keys(entry, keys, (), kind)
    tests = entry.get("tests")
    if isinstance(tests, Mapping):
        names = keys_of(TestsSchema)
        problems += _unknown_keys(tests, names, ("tests",), kind)
        tests = {key: value for key, value in tests.items() if key in names}
        entry["tests"] = tests
    elif "tests" in entry:
        problems.append(
            PatchError(
                "tests must hold the lists fires and silent, and expect, answers by question",
                at=("tests",),
            ),
        )
        del entry["tests"]
    known = {str(key): value for key, value in entry.items() if key in keys}
    try:
        validated = schema.model_validate(known)
    except ValidationError as error:
        raise_all(problems + _validation_problems(error, kind), where)
    raise_all(problems, where)
    return validated


@functools.cache
def keys_of(schema: type[BaseModel]) -> tuple[str, ...]:
    """Return the keys of a schema as files have them."""
    return tuple(field.alias or name for name, field in schema.model_fields.items())


def raise_all(problems: Sequence[PatchError], where: SourceLocation | None) -> None:
    """Raise the problems with their place, if there are any.

    :param problems: the problems of one entry.
    :param where: the entry's place.
    :raises PatchError: the problem, or all of them as a :class:`PatchFolderError`.
    """
    located = [
        PatchError(problem.message, where, problem.at, problem.against) for problem in problems
    ]
    if len(located) == 1:
        raise located[0]
    if located:
        raise PatchFolderError(located)


def did_you_mean(word: object, words: Iterable[str]) -> str:
    """Return ``, did you mean 'x'?`` if a known word is close, else an empty text."""
    close = difflib.get_close_matches(str(word)[:100], list(words), n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else ""


def dump_common(edit: Edit) -> dict[str, Any]:
    """Return the common keys that are set, in file order.

    :param edit: any edit; its id is left out where it is the hash of the content.
    """
    tests: dict[str, Any] = {
        name: list(texts)
        for name, texts in (("fires", edit.tests.fires), ("silent", edit.tests.silent))
        if texts
    }
    if edit.tests.expect:
        tests["expect"] = dict(edit.tests.expect)
    entries: dict[str, Any] = {
        "id": edit.id if edit.id != edit.content_hash() else None,
        "source": edit.source,
        "author": edit.author,
        "tags": list(edit.tags),
        "priority": edit.priority,
        "supersedes": list(edit.supersedes),
        "from": edit.valid_from.isoformat() if edit.valid_from else None,
        "until": edit.until.isoformat() if edit.until else None,
        "rollout": repr(edit.rollout) if edit.rollout != 1 else None,
        "tests": tests,
    }
    return {key: value for key, value in entries.items() if value}


def _mapping(body: object, where: SourceLocation | None) -> dict[Any, Any]:
    if not isinstance(body, Mapping):
        raise PatchError(
            f"a patch is a mapping of keys such as question: and answer:, found {_described(body)}",
            where,
        )
    return dict(body)


def _unknown_keys(
    entry: Mapping[Any, Any], keys: Sequence[str], inside: At, kind: str
) -> list[PatchError]:
    """Return the problems of keys that a patch does not have, the first ones one by one."""
    unknown = [key for key in entry if key not in keys]
    problems = [_unknown_key(key, keys, inside, kind) for key in unknown[:KEYS_SHOWN]]
    if len(unknown) > KEYS_SHOWN:
        more = f"and {len(unknown) - KEYS_SHOWN:,} more unknown keys: is this a patch?"
        problems.append(PatchError(more, at=(*inside, str(unknown[KEYS_SHOWN]))))
    return problems


def _unknown_key(key: object, keys: Sequence[str], inside: At, kind: str) -> PatchError:
    place = f"{'.'.join(str(part) for part in inside)}: " if inside else ""
    hint = did_you_mean(key, keys) or f"; known are {', '.join(keys)}"
    if key == "<<":
        hint = "; merge keys are not supported, write the keys out"
    return PatchError(
        f"{place}unknown key {reprlib.repr(key)} in a {kind} patch{hint}", at=(*inside, str(key))
    )


def _validation_problems(error: ValidationError, kind: str) -> list[PatchError]:
    problems = []
    for found in error.errors(include_url=False):
        at = tuple(found["loc"])
        name = ".".join(str(part + 1 if isinstance(part, int) else part) for part in at)
        if found["type"] == "missing":
            message = f"a {kind} patch needs the key {name!r}: add it"
        elif found["type"] == "value_error":
            message = f"{name} {found['ctx']['error']}"
        else:
            message = f"{name}: {found['msg']}"
        problems.append(PatchError(message, at=at))
    return problems
