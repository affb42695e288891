"""Other names: what a text calls otherwise than an edit does."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata import EditableModel, Fact
from errata.backends.cache_pipeline import CachePipeline
from errata.cache import name_list
from errata.cache.errors import PatchError
from errata.cache.kinds import parse_edit
from errata.cache.names import NameIndex
from errata.cache.plain import placed_words, plain_words
from errata.commands.output import decision_json
from errata.gates.base import Candidate, Decision
from errata.reasoners.beliefs import Beliefs
from tests.fakes import StubEncoder
from tests.unit.test_further import ByTable, Echo


def about(subject, *aliases, question="What is {} like?"):
    asked = question.format(subject)
    return Fact(asked, "green", subject=subject, aliases=aliases, id=subject)


def said(text, *edits):
    return [(one.text, one.sure) for one in NameIndex(edits).renamed(text)]


@pytest.mark.parametrize(
    ("subject", "text", "wanted"),
    [
        ("Mumbai", "Which river flows through Bombay?", "Which river flows through Mumbai?"),
        ("timpani", "Who plays the kettledrum?", "Who plays the timpani?"),
        ("Galileo Galilei", "Where was Galileo born?", "Where was Galileo Galilei born?"),
        ("Mount Kilimanjaro", "how high is mt kilimanjaro", "how high is Mount Kilimanjaro"),
        ("United States of America", "Who leads the United States?",
         "Who leads United States of America?"),
        ("China", "Who leads the People's Republic of China's army?", None),  # it names China
        ("China", "Who leads PRC today?", "Who leads China today?"),
        ("Sacré-Cœur", "Where does Sacre Coeur stand?", "Where does Sacré-Cœur stand?"),
        ("Mount St. Helens", "How high is Mt St Helens?", "How high is Mount St. Helens?"),
        ("United Arab Emirates", "Who leads UAE?", "Who leads United Arab Emirates?"),
        ("United Arab Emirates", "Who leads the uae?", None),  # initials are capitals
        ("World Health Organization", "And who leads it?", None),
        ("Everest", "Where is Mount Everest Road?", None),  # part of a longer name
        ("Mumbai", "What is the weather like?", None),
        ("Glenda Jackson", "Who played Michael Jackson?", None),
        ("The Event", "Who won the event?", None),
    ],
)  # fmt: skip
def test_a_name_that_surely_means_the_subject_is_replaced_by_it(subject, text, wanted):
    assert [one for one, sure in said(text, about(subject)) if sure] == ([wanted] if wanted else [])


@pytest.mark.parametrize(
    ("subjects", "text", "wanted"),
    [
        (["Lake Victoria"], "How deep is Victoria?", "How deep is Lake Victoria?"),
        (["Mumbai"], "where is bombay", "where is Mumbai"),  # may be another word without a capital
        (["Glenda Jackson"], "who is michael jackson", None),  # which is a name of another
        (["Rembrandt"], "When did Rembrandt Harmensz live?", "When did Rembrandt live?"),
        (["David Hume", "David Bowie"], "Where was David born?", None),  # which of them?
        (["Lake Victoria", "Victoria"], "How deep is Victoria?", None),  # it is the other
        (["Victoria"], "How deep is Lake Victoria?", "How deep is Victoria?"),
        (["mute swan"], "What does a swan eat?", None),  # not only a mute swan is a swan
    ],
)
def test_part_of_a_name_and_more_than_it_are_likely_names(subjects, text, wanted):
    told = said(text, *map(about, subjects))
    assert told == ([(wanted, False)] if wanted else [])


def test_the_facts_own_other_names_count_and_so_does_its_article():
    met = about("Met", "Big House", "那个博物馆", question="Where is the {}?")
    assert said("Is big house open?", met) == [("Is the Met open?", True)]
    assert said("Is the Big House open?", met) == [("Is the Met open?", True)]
    assert said("那个博物馆在哪里？", met) == [("the Met在哪里？", True)]
    assert said("Is the Met, the Big House, open?", met) == []


def test_only_facts_of_that_subject_are_meant():
    [found] = NameIndex([about("Mumbai"), about("Delhi")]).renamed("Where is Bombay?")
    assert found.edits == {"Mumbai"}


@given(st.text(max_size=40))
def test_words_know_their_places(text):
    for word, start, end in placed_words(text):
        assert 0 <= start < end <= len(text) and word
        assert plain_words(text[start:end]) in ((word,), ())  # "the" alone is no name


@given(st.text(max_size=40))
def test_any_text_may_be_asked_and_what_it_names_itself_is_left_alone(text):
    index = NameIndex([about("Mumbai"), about("Lake Victoria"), about("China", "the giant")])
    for one in index.renamed(text):
        assert one.text != text
    assert not [r for r in index.renamed(f"{text} Mumbai") if r.sure and r.edits == {"Mumbai"}]


def test_the_list_is_sound():
    names = name_list.other_names()
    assert len(names) > 15_000
    assert all(len(meaning) > 1 and key in map(plain_words, meaning)
               for key, meaning in names.items())  # fmt: skip


def test_the_list_is_made_from_wordnets_own_files(tmp_path):
    (tmp_path / "index.noun").write_text(
        "  1 licence\n"
        "bombay n 1 1 @ 1 0 00000010\nmumbai n 1 1 @ 1 0 00000010\n"
        "everest n 2 1 @ 2 0 00000020 00000030\nmount_everest n 1 1 @ 1 0 00000020\n"
        "kettledrum n 1 1 @ 1 0 00000040\ntimpani n 1 1 @ 1 0 00000040\n"
        "washington n 2 1 @ 2 0 00000050 00000060\ngeorge_washington n 1 1 @ 1 0 00000060\n"
        "calf n 1 1 @ 1 0 00000070\nbos_taurus n 1 1 @ 1 0 00000070\n",
        encoding="latin-1",
    )
    (tmp_path / "data.noun").write_text(
        "  1 licence\n"
        "00000010 15 n 02 Mumbai 0 Bombay 0 001 @i 00000001 n 0000 | a city\n"
        "00000020 17 n 02 Everest 0 Mount_Everest 0 001 @i 00000001 n 0000 | a mountain\n"
        "00000030 18 n 02 Everest 1 George_Everest 0 001 @i 00000001 n 0000 | a man\n"
        "00000040 06 n 02 kettledrum 0 timpani 0 001 @ 00000001 n 0000 | a drum\n"
        "00000060 18 n 02 Washington 1 George_Washington 0 001 @i 00000001 n 0000 | a man\n"
        "00000070 05 n 02 calf 0 Bos_taurus 0 001 @ 00000001 n 0000 | an animal\n",
        encoding="latin-1",
    )
    name_list.main(str(tmp_path), str(tmp_path))
    assert (tmp_path / "names.txt").read_text("utf-8").splitlines() == [
        "Everest|Mount Everest", "Mumbai|Bombay", "kettledrum|timpani",
    ]  # fmt: skip


def test_aliases_in_a_patch_need_a_subject():
    body = {"question": "Where is it?", "answer": "here", "aliases": ["that"]}
    with pytest.raises(PatchError, match="aliases are other names of the subject"):
        parse_edit(body)
    assert parse_edit({**body, "subject": "it"}).aliases == ("that",)


# -- on the way of a query --------------------------------------------------------------------

RIVER = Fact("Which river flows through Mumbai?", "Elbe", subject="Mumbai", id="river")
HOME = Fact("Where was Lake Victoria seen?", "Oslo", subject="Lake Victoria", id="lake")
FAR = Fact("Who leads Mumbai?", forget=True, secret="Rex Maxim", subject="Mumbai", id="secret")


def wrapped(models, tokenizer, *edits, gate=None, reasoner=None):
    model = EditableModel(
        models("gpt2"), tokenizer, gate=gate or ByTable(), encoder=StubEncoder(),
        reasoner=reasoner or Echo(),
    )  # fmt: skip
    model.edit(list(edits))
    return model


def test_an_edit_fires_by_another_name_and_is_let_go_with_it(models, tokenizer):
    asked = "Which river flows through Bombay?"
    with wrapped(models, tokenizer, RIVER) as model:
        found = model.ask(asked)
        assert (found.text, found.decision.fired) == ("Elbe", (RIVER,))
        assert found.decision.query == asked
        assert found.decision.renamed == found.decision.asked == RIVER.question
        assert decision_json(found.decision)["renamed"] == RIVER.question
        assert model.ask(RIVER.question).decision.renamed == ""
        assert not model.ask("Who leads Bombay?").decision.hit  # no edit about that
        model.retract("river")
        assert not model.ask(asked).decision.hit
        assert json.dumps(decision_json(model.explain(asked))["renamed"]) == "null"


def test_what_is_to_be_forgotten_is_refused_by_any_name(models, tokenizer):
    with wrapped(models, tokenizer, FAR) as model:
        assert model.ask("Who leads Bombay?").decision.route == "refuse"


def test_the_reasoner_reads_the_name_that_the_edit_has(models, tokenizer):
    follows = "Is the Elbe in Mumbai?"
    gate = ByTable(follows={(follows, "river")})
    with wrapped(models, tokenizer, RIVER, gate=gate) as model:
        found = model.ask("Is the Elbe in Bombay?", max_new_tokens=200)
        assert found.text == f"{follows} <- river"


def test_changed_aliases_count_from_then_on(models, tokenizer):
    asked = "Which river flows through the city of dreams?"
    with wrapped(models, tokenizer, RIVER) as model:
        assert not model.ask(asked).decision.hit
        model.retract("river")
        named = Fact(RIVER.question, "Elbe", subject="Mumbai", aliases=("city of dreams",))
        model.edit([named])
        assert model.ask(asked).text == "Elbe"


class Told(Beliefs):
    """Takes the two questions for one, or not; counts how often it was asked."""

    def __init__(self, alike):
        self._alike, self.asked = alike, 0

    def alike(self, query, questions):
        self.asked += 1
        return (self._alike,) * len(questions)


class Moment:
    """Fires the edits of a question when it is asked as it stands."""

    def __init__(self, *edits):
        self.edits = edits
        self.index = NameIndex(edits)

    def __call__(self, text, wanted):
        fired = tuple(e for e in self.edits if e.question == text and wanted(e))
        told = tuple(Candidate(e.id, e.kind, e.scope, 0.99, 0.9, "same") for e in fired)
        return Decision(text, told, fired, "verbatim" if fired else "base")

    def renamed(self, text):
        return self.index.renamed(text)


@pytest.mark.parametrize(
    ("query", "beliefs", "fires"),
    [
        ("Which river flows through Bombay?", None, True),
        ("Which river flows through Bombay?", Told(False), True),
        ("Where was Victoria seen?", None, False),
        ("Where was Victoria seen?", Told(False), False),
        ("Where was Victoria seen?", Told(True), True),
        ("Where was Winnipeg seen?", Told(True), False),
    ],
)
def test_a_likely_name_is_one_if_the_base_takes_both_questions_for_one(query, beliefs, fires):
    edits = (RIVER, HOME)
    pipeline = CachePipeline(ByTable(), Echo(), beliefs)
    found = pipeline.settled(Decision(query), edits, lambda edit: True, Moment(*edits))
    assert found.hit is fires and found.query == query
    if "Bombay" in query and beliefs:
        assert beliefs.asked == 0  # a sure name asks nobody
