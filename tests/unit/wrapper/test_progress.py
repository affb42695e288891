"""What commands show on stderr while they work."""

from __future__ import annotations

import pytest

from errata.commands import progress
from errata.training import progress as training


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    monkeypatch.setattr(training, "SECONDS", 0.0)


def test_elsewhere_than_on_a_terminal_there_are_plain_lines(at_once, capsys):
    with progress.progress("testing", 3) as advance:
        advance(2)
        advance(note="cache")
    captured = capsys.readouterr()
    assert captured.err == "testing: 2 of 3\ntesting: 3 of 3 cache\n" and captured.out == ""


def test_a_quick_step_says_nothing(capsys):
    with progress.working("loading"), progress.progress("testing", 1) as advance:
        advance()
    assert capsys.readouterr() == ("", "")


def test_where_json_is_printed_nothing_is_shown_nor_other_packages_bars(at_once, capsys):
    from transformers.utils import logging

    logging.enable_progress_bar()
    with progress.quiet(on=True), progress.working("loading"):
        assert not logging.is_progress_bar_enabled()
        with progress.progress("testing", 1) as advance:
            advance()
    assert capsys.readouterr() == ("", "")
