"""Reports of a check: JSON, JUnit, and annotations of GitHub."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from errata.patch_tests.records import Problem, Report, TestResult, where

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PLACE = re.compile(r"^(?P<file>.*):(?P<line>[0-9]+)$", re.DOTALL)


def as_json(report: Report) -> dict[str, Any]:
    """Return a report's fields."""
    return {
        "folder": report.folder,
        "patches": report.patches,
        "tests": len(report.results),
        "errors": report.count("error"),
        "warnings": report.count("warning"),
        "problems": [
            {
                "severity": problem.severity,
                "location": problem.where,
                "patch": problem.patch or problem.where,
                "message": problem.message,
                "advice": problem.advice or None,
            }
            for problem in report.problems
        ],
        "results": [_result_json(result) for result in report.results],
    }


def _result_json(result: TestResult) -> dict[str, Any]:
    case = result.case
    return {
        "patch": where(case.edit),
        "location": case.where,
        "asked": case.query,
        "expected": case.expectation if case.answer is None else case.answer,
        "passed": not result.failure,
        "fired": list(result.fired),
        "probability": result.probability,
        "threshold": result.threshold,
    }


def junit(reports: Sequence[Report]) -> bytes:
    """Return reports as JUnit XML: a suite a file, a case a test, and a case a problem beside them.

    :param reports: of one or more folders.
    """
    root = ElementTree.Element("testsuites", name="errata check")
    suites: dict[str, list[ElementTree.Element]] = {}
    for report in reports:
        for result in report.results:
            suites.setdefault(_file(result.case.where, report), []).append(_case(result))
        failed = {str(result.problem()) for result in report.results if result.failure}
        for problem in report.problems:
            if problem.severity == "error" and str(problem) not in failed:
                suites.setdefault(_file(problem.where, report), []).append(_problem_case(problem))
    for name, cases in suites.items():
        failures = sum(case.find("failure") is not None for case in cases)
        suite = ElementTree.SubElement(
            root, "testsuite", name=_xml(name), tests=str(len(cases)), failures=str(failures),
            errors="0", skipped="0",
        )  # fmt: skip
        suite.extend(cases)
    total = [suite.get(key, "0") for key in ("tests",) for suite in root]
    root.set("tests", str(sum(map(int, total))))
    root.set("failures", str(sum(int(suite.get("failures", "0")) for suite in root)))
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _case(result: TestResult) -> ElementTree.Element:
    case = result.case
    file, line = _place(case.where)
    element = ElementTree.Element(
        "testcase", classname=_xml(where(case.edit)), file=_xml(file), line=str(line),
        name=_xml(f"{case.expectation}: {case.query}"),
    )  # fmt: skip
    problem = result.problem()
    if problem is not None:
        _add_failure(element, problem)
    return element


def _problem_case(problem: Problem) -> ElementTree.Element:
    file, line = _place(problem.where)
    element = ElementTree.Element(
        "testcase", classname=_xml(problem.patch or problem.where), file=_xml(file),
        line=str(line), name="valid",
    )  # fmt: skip
    _add_failure(element, problem)
    return element


def _add_failure(element: ElementTree.Element, problem: Problem) -> None:
    failure = ElementTree.SubElement(element, "failure", message=_xml(problem.message))
    failure.text = _xml(str(problem))


def github(reports: Sequence[Report]) -> Iterator[str]:
    """Yield the workflow commands that put errors and warnings beside the lines of a pull request.

    :param reports: of one or more folders.
    """
    for report in reports:
        for problem in report.problems:
            if problem.severity == "note":
                continue
            file, line = _place(problem.where)
            text = f"{problem.message}{f'; {problem.advice}' if problem.advice else ''}"
            place = f"file={_property(_relative(file))},line={line},title=errata check"
            yield f"::{problem.severity} {place}::{_escaped(text)}"
        if report.unlisted:
            yield f"::error title=errata check::and {report.unlisted:,} more problems"


def _file(place: str, report: Report) -> str:
    return _place(place)[0] or report.folder


def _place(text: str) -> tuple[str, int]:
    """Return file and line of ``file:line``; of another text the text itself and 1."""
    found = _PLACE.match(text)
    return (found["file"], int(found["line"])) if found else (text, 1)


def _relative(file: str) -> str:
    """Return a path from the root of the checkout, as annotations need it."""
    root = os.environ.get("GITHUB_WORKSPACE") or os.getcwd()
    path = Path(file).absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else file


def _escaped(text: str) -> str:
    for char, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        text = text.replace(char, code)
    return text


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def _xml(text: str) -> str:
    """Return a text without the characters that XML cannot hold."""
    return _NO_XML.sub("\ufffd", text)
