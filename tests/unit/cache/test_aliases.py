"""Other names: what a text calls otherwise than an edit does."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from errata import EditableModel, Fact
from errata.cache.errors import PatchError
from errata.cache.patches.kinds import parse_edit
from errata.cache.records import PatchTests
from errata.cache.store import EditCache
from errata.cache.text.aliases import AliasIndex, synonyms
from errata.cache.text.normalize import plain_words, words_with_offsets
from errata.cli import app
from errata.commands.ask import _verdict
from errata.commands.output import decision_json
from errata.gates.base import Candidate, Decision
from errata.patch_tests.review import review
from errata.pipelines.base import ScopedView
from errata.pipelines.cache import CachePipeline
from errata.reasoners.base_consistency import BaseConsistency
from errata.reasoners.verified import VerificationConfig
from tests.fakes import StubEncoder
from tests.unit.wrapper.test_decompose import ByTable, Echo
from tools.names.__main__ import main as build_names


def about(subject, *aliases, question="What is {} like?"):
    asked = question.format(subject)
    return Fact(asked, "green", subject=subject, aliases=aliases, id=subject)


def said(text, *edits):
    return [(one.text, one.certain) for one in AliasIndex(edits).matches(text)]


@pytest.mark.parametrize(
    ("subject", "text", "wanted"),
    [
        ("Mumbai", "Which river flows through Bombay?", "Which river flows through Mumbai?"),
        ("Mumbai", "Is Bombay larger than Bombay was?", "Is Mumbai larger than Mumbai was?"),
        ("China", "Who leads PRC today?", "Who leads China today?"),
        ("Cologne", "Who leads Köln today?", "Who leads Cologne today?"),
        ("China", "PRC is led by whom?", "China is led by whom?"),
        ("Sacré-Cœur", "Where does Sacre Coeur stand?", "Where does Sacré-Cœur stand?"),
        ("Sacré-Cœur", "Where does sacre-coeur stand?", "Where does Sacré-Cœur stand?"),
        ("Basílica", "Where is the Basi\u0301lica?", "Where is Basílica?"),
        ("Mount St. Helens", "How high is Mt St Helens?", "How high is Mount St. Helens?"),
        ("Cape Verde", "Who leads Cabo Verde?", "Who leads Cape Verde?"),
        ("Taiwan", "Who leads the Republic of China?", "Who leads Taiwan?"),
    ],
)  # fmt: skip
def test_a_name_that_surely_means_the_subject_is_replaced_by_it(subject, text, wanted):
    assert said(text, about(subject)) == [(wanted, True)]


@pytest.mark.parametrize(
    ("subjects", "text", "wanted"),
    [
        (["Lake Quill"], "How deep is Quill?", "How deep is Lake Quill?"),
        (["Quill"], "How deep is Lake Quill?", "How deep is Quill?"),
        (["Rembrandt"], "When did Rembrandt Harmensz live?", "When did Rembrandt live?"),
        (["Mumbai"], "where is bombay", "where is Mumbai"),  # without its capital: another word
        (["Mumbai"], "WHERE IS BOMBAY", "WHERE IS Mumbai"),
        (["Mumbai"], "Bombay is where?", "Mumbai is where?"),  # any first word has one
        (["timpani"], "Who plays the kettledrum?", "Who plays the timpani?"),
        (["Galileo Galilei"], "Where was Galileo born?", "Where was Galileo Galilei born?"),
        (
            ["United States of America"],
            "Who leads the United States?",
            "Who leads United States of America?",
        ),
        (["United Arab Emirates"], "Who leads UAE?", "Who leads United Arab Emirates?"),
        (["Mount Kilimanjaro"], "how high is kilimanjaro", "how high is Mount Kilimanjaro"),
        (["Sri Lanka"], "Who leads Ceylon?", "Who leads Sri Lanka?"),  # or the island
        (["Saint Petersburg"], "Where is Leningrad?", "Where is Saint Petersburg?"),
        (["Turkey"], "Who leads Türkiye?", "Who leads Turkey?"),
    ],
)
def test_what_may_mean_something_else_is_likely(subjects, text, wanted):
    assert (wanted, False) in said(text, *map(about, subjects))
    assert not [one for one, sure in said(text, *map(about, subjects)) if sure]


@pytest.mark.parametrize(
    ("subjects", "text"),
    [
        (["China"], "Who leads the People's Republic of China's army?"),  # it names China
        (["United Arab Emirates"], "Who leads the uae?"),  # initials are capitals
        (["World Health Organization"], "And who leads it?"),
        (["World Health Organization"], "WHO IS THE DIRECTOR?"),
        (["The Who"], "Who founded it?"),
        (["Everest"], "Where is Mount Everest Road?"),  # part of a longer name
        (["cougar"], "Who owns Puma?"),  # a kind of thing has no capital
        (["jaguar"], "What does a Panther Tank weigh?"),
        (["Glenda Jackson"], "Who played Michael Jackson?"),
        (["Glenda Jackson"], "who is michael jackson"),  # which is a name of another
        (["David Hume", "David Bowie"], "Where was David born?"),  # which of them?
        (["Lake Quill", "Quill"], "How deep is Quill?"),  # it is the other
        (["Porto Azzurro"], "Where is Porto?"),  # which is a place of its own
        (["mute swan"], "What does a swan eat?"),  # not only a mute swan is a swan
        (["Mumbai"], "What is the weather like?"),
        (["कुल"], "काल क्या है?"),
        (["Mumbai"], ""),
        (["..."], "What is it like?"),
    ],
)
def test_else_a_text_stays_as_it_is(subjects, text):
    assert [one for one, sure in said(text, *map(about, subjects)) if sure] == []
    if subjects not in (["China"], ["Everest"], ["jaguar"]):  # with more to it
        assert said(text, *map(about, subjects)) == []


def test_one_name_of_two_subjects_is_only_likely():
    one = about("American Medical Association", "the Doctors")
    other = about("American Marketing Association", "the Doctors")
    for text in ("Where is AMA?", "Where are the Doctors?"):
        assert sorted(sure for _, sure in said(text, one, other)) == [False, False]
    assert [sure for _, sure in said("Where are the Doctors?", one)] == [True]


@pytest.mark.parametrize(
    ("text", "wanted", "sure"),
    [
        ("Is the Big House open?", "Is the Met open?", True),
        ("Is Big House open?", "Is the Met open?", True),
        ("Is the big house open?", "Is the Met open?", False),  # any big house
        ("那个博物馆在哪里？", "the Met在哪里？", True),
        ("The old museum at the corner of the park is open?", "the Met is open?", True),
        ("Is Greater Met open?", "Is the Met open?", True),
    ],
)
def test_the_facts_own_other_names_count_as_they_are_written(text, wanted, sure):
    aliases = ("Big House", "那个博物馆", "the old museum at the corner of the park", "Greater Met")
    met = about("Met", *aliases, question="Where is the {}?")
    assert (wanted, sure) in said(text, met)
    assert said("Is the Met, the Big House, open?", met) == []


def test_only_facts_of_that_subject_are_meant():
    mumbai, delhi, named = about("Mumbai"), about("Delhi"), Fact("Who leads mumbai?", "me")
    named = replace(named, subject="mumbai")
    [found] = AliasIndex([mumbai, delhi, named]).matches("Where is Bombay?")
    assert found.edits == (mumbai, named)


@given(st.text(max_size=40))
def test_words_know_their_places(text):
    for word, start, end in words_with_offsets(text):
        assert 0 <= start < end <= len(text) and word
        assert plain_words(text[start:end]) in ((word,), ())  # "the" alone is no name


NAMES = ("Bombay", "bombay", "Mumbai", "the Giant", "Quill", "Lake Quill", "PRC", "Big", "?",
         "who", "Who", "UAE", "斑马", "马", "the", "of", "is")  # fmt: skip


@given(st.lists(st.sampled_from(NAMES), max_size=7).map(" ".join))
def test_any_text_may_be_asked_and_what_it_names_itself_is_left_alone(text):
    edits = [about("Mumbai"), about("Lake Quill"), about("China", "the Giant", "斑马"),
             about("United Arab Emirates")]  # fmt: skip
    index = AliasIndex(edits)
    for one in index.matches(text):
        assert one.text != text and len(one.edits) == 1
        assert one.edits[0].subject in one.text
    also = index.matches(f"{text} and Mumbai")
    assert not [one for one in also if one.certain and one.edits == (edits[0],)]


def test_a_long_text_is_read_in_a_moment():
    long = " ".join(f"Name{i} of Place{i}" for i in range(20_000))
    assert not list(AliasIndex([about("Mumbai"), about(long[:4000])]).matches(f"{long} Bombay"))


def test_the_list_is_sound():
    names = synonyms()
    assert len(names) > 15_000
    assert names[("porto",)] == ("Porto", "Oporto") and names[("lyon",)] == ("Lyon", "Lyons")
    assert plain_words("Saint Paul") not in names  # an apostle, and a city


def test_the_list_is_made_from_wordnets_own_files(tmp_path):
    (tmp_path / "index.noun").write_text(
        "  1 licence\n"
        "bombay n 1 1 @ 1 0 00000010\nmumbai n 1 1 @ 1 0 00000010\n"
        "everest n 2 1 @ 2 0 00000020 00000030\nmount_everest n 1 1 @ 1 0 00000020\n"
        "kettledrum n 1 1 @ 1 0 00000040\ntimpani n 1 1 @ 1 0 00000040\n"
        "washington n 2 1 @ 2 0 00000050 00000060\ngeorge_washington n 1 1 @ 1 0 00000060\n"
        "calf n 1 1 @ 1 0 00000070\nbos_taurus n 1 1 @ 1 0 00000070\n"
        "turkey n 2 1 @ 2 0 00000080 00000090\nrepublic_of_turkey n 1 1 @ 1 0 00000090\n"
        "cape_verde n 1 1 @ 1 0 00000100\nmaurice n 1 1 @ 1 0 00000110\n",
        encoding="latin-1",
    )
    (tmp_path / "data.noun").write_text(
        "  1 licence\n"
        "00000010 15 n 02 Mumbai 0 Bombay 0 001 @i 00000001 n 0000 | a city\n"
        "00000020 17 n 02 Everest 0 Mount_Everest 0 001 @i 00000001 n 0000 | a mountain\n"
        "00000030 18 n 02 Everest 1 George_Everest 0 001 @i 00000001 n 0000 | a man\n"
        "00000040 06 n 02 kettledrum 0 timpani 0 001 @ 00000001 n 0000 | a drum\n"
        "00000060 18 n 02 Washington 1 George_Washington 0 001 @i 00000001 n 0000 | a man\n"
        "00000070 05 n 02 calf 0 Bos_taurus 0 001 @ 00000001 n 0000 | an animal\n"
        "00000080 05 n 01 turkey 0 001 @ 00000001 n 0000 | a bird\n"
        "00000090 15 n 02 Turkey 0 Republic_of_Turkey 0 001 @i 00000001 n 0000 | a country\n"
        "00000100 15 n 01 Cape_Verde 0 001 @i 00000001 n 0000 | a country\n",
        encoding="latin-1",
    )
    english = {"CV": "Cape Verde", "CV-alt-variant": "Cabo Verde", "TR": "Türkiye",
               "TR-alt-variant": "Turkey", "MM": "Myanmar (Burma)", "MU": "Mauritius", "XA": "Aa",
               "CD": "Congo - Kinshasa", "CD-alt-variant": "Congo (DRC)",
               "001": "world"}  # fmt: skip
    french = {"MU": "Maurice", "CD": "République du Congo", "MM": "Birmanie"}
    spoken, here_and_there = (
        {"_officialStatus": "official"},
        {"_officialStatus": "official_regional"},
    )
    official = {"MU": {"fr": spoken, "xx": spoken}, "MM": {"fr": here_and_there}}
    territories(tmp_path, official, en=english, fr=french)
    build_names(*[str(tmp_path)] * 4)
    assert (tmp_path / "names.txt").read_text("utf-8").splitlines() == [
        "Cape Verde|Cabo Verde", "Everest|Mount Everest", "George Washington|~Washington",
        "Mumbai|Bombay", "Myanmar|Burma", "Republic of Turkey|~Turkey|Türkiye",
        "kettledrum|timpani", "~Everest|~George Everest",
    ]  # fmt: skip


def territories(folder, official, **languages):
    for language, names in languages.items():
        path = folder / "main" / language / "territories.json"
        path.parent.mkdir(parents=True)
        named = {"localeDisplayNames": {"territories": names}}
        path.write_text(json.dumps({"main": {language: named}}), encoding="utf-8")
    info = {code: {"languagePopulation": spoken} for code, spoken in official.items()}
    path = folder / "supplemental" / "territoryInfo.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"supplemental": {"territoryInfo": info}}), encoding="utf-8")


def test_aliases_in_a_patch_need_a_subject():
    body = {"question": "Where is it?", "answer": "here", "aliases": ["that"]}
    with pytest.raises(PatchError, match="aliases are other names of the subject"):
        parse_edit(body)
    assert parse_edit({**body, "subject": "it"}).aliases == ("that",)
    with pytest.raises(PatchError, match="has no word in it"):
        parse_edit({**body, "subject": "it", "aliases": ["..."]})


# -- on the way of a query --------------------------------------------------------------------

RIVER = Fact("Which river flows through Mumbai?", "Elbe", subject="Mumbai", id="river")
HOME = Fact("Where was Lake Quill seen?", "Oslo", subject="Lake Quill", id="lake")
FAR = Fact("Who leads Mumbai?", forget=True, secret="Rex Maxim", subject="Mumbai", id="secret")


def wrapped(models, tokenizer, *edits, gate=None, reasoner=None, verification=None):
    model = EditableModel(
        models("gpt2"), tokenizer, gate=gate or ByTable(), encoder=StubEncoder(),
        reasoner=reasoner or Echo(), verification=verification,
    )  # fmt: skip
    model.edit(list(edits))
    return model


def test_an_edit_fires_by_another_name_and_is_let_go_with_it(models, tokenizer):
    asked = "Which river flows through Bombay?"
    with wrapped(models, tokenizer, RIVER) as model:
        found = model.ask(asked)
        assert (found.text, found.decision.fired) == ("Elbe", (RIVER,))
        assert found.decision.query == asked
        assert found.decision.canonical_query == found.decision.effective_query == RIVER.question
        assert decision_json(found.decision)["canonical_query"] == RIVER.question
        assert model.ask(RIVER.question).decision.canonical_query == ""
        assert not model.ask("Who leads Bombay?").decision.hit  # no edit about that
        model.retract("river")
        assert not model.ask(asked).decision.hit
        assert json.dumps(decision_json(model.explain(asked))["canonical_query"]) == "null"


def test_what_is_to_be_forgotten_is_refused_by_any_name(models, tokenizer):
    with wrapped(models, tokenizer, FAR) as model:
        assert model.ask("Who leads Bombay?").decision.route == "refuse"


def test_the_reasoner_reads_the_name_that_the_edit_has(models, tokenizer):
    follows = "Is the Elbe in Mumbai?"
    gate = ByTable(follows={(follows, "river")})
    with wrapped(models, tokenizer, RIVER, gate=gate) as model:
        found = model.ask("Is the Elbe in Bombay?", max_new_tokens=200)
        assert found.text == f"{follows} <- river"
    verification = VerificationConfig()
    with wrapped(models, tokenizer, RIVER, gate=gate, verification=verification) as model:
        assert model.ask("Is the Elbe in Bombay?", max_new_tokens=200).text == "Yes, Elbe."


def test_changed_aliases_count_from_then_on(models, tokenizer):
    asked = "Which river flows through the city of dreams?"
    with wrapped(models, tokenizer, RIVER) as model:
        assert not model.ask(asked).decision.hit
        model.retract("river")
        named = Fact(RIVER.question, "Elbe", subject="Mumbai", aliases=("city of dreams",))
        model.edit([named])
        assert model.ask(asked).text == "Elbe"


class Told(BaseConsistency):
    """Takes the two questions for one, or not; counts how often it was asked."""

    def __init__(self, alike):
        self._alike, self.asked = alike, 0

    def agrees(self, query, questions):
        self.asked += 1
        return (self._alike,) * len(questions)

    def agrees_batch(self, queries, questions):
        return [self.agrees(*one) for one in zip(queries, questions, strict=True)]


class Exact(ByTable):
    """Fires the edits of a question when it is asked as it stands.

    :param agreeing: whether the base model may be asked.
    """

    def __init__(self, agreeing=True):
        super().__init__()
        self.agreement_threshold = 0.3 if agreeing else None

    def decide(self, query, hits):
        fired = tuple(hit.edit for hit in hits if hit.edit.question == query.text)
        fired = tuple(sorted(fired, key=lambda edit: -edit.priority))
        candidates = tuple(
            Candidate(
                e.id, e.kind, e.scope, 0.99, 0.9, "paraphrase",
                agreement_threshold=self.agreement_threshold,
            )
            for e in fired
        )  # fmt: skip
        route = ("refuse" if fired[0].forget else "verbatim") if fired else "base"
        return Decision(query.text, candidates, fired, route)


def read(query, *edits, beliefs=None, agreeing=True, wanted=lambda edit: True):
    encoder = StubEncoder()
    pipeline = CachePipeline(Exact(agreeing), Echo(), beliefs)
    with EditCache(encoder) as cache:
        cache.add(edits)
        scoped = ScopedView(cache.view(), encoder, wanted)
        return pipeline.decide(scoped.encode([query]), scoped)[0]


@pytest.mark.parametrize(
    ("query", "beliefs", "agreeing", "fires"),
    [
        ("Which river flows through Bombay?", None, False, True),
        ("Which river flows through Bombay?", Told(False), True, True),
        ("Where was Quill seen?", None, True, False),
        ("Where was Quill seen?", Told(False), True, False),
        ("Where was Quill seen?", Told(True), True, True),
        ("Where was Quill seen?", Told(True), False, False),  # its word does not count
        ("Where was Winnipeg seen?", Told(True), True, False),
    ],
)
def test_a_likely_name_is_one_if_the_base_takes_both_questions_for_one(
    query, beliefs, agreeing, fires
):
    found = read(query, RIVER, HOME, beliefs=beliefs, agreeing=agreeing)
    assert found.hit is fires and found.query == query
    if "Bombay" in query and beliefs:
        assert beliefs.asked == 0  # a sure name asks nobody


def test_who_comes_first_under_the_subjects_own_name_does_so_under_another():
    other = replace(RIVER, subject=None, forget=True, priority=5, id="refused")
    vague = replace(other, subject="river")
    for edit in (other, vague):
        assert read("Which river flows through Bombay?", RIVER, edit).route == "refuse"
    assert read("Which river flows through Bombay?", RIVER).route == "verbatim"


def test_of_likely_names_only_what_the_base_confirms_stays():
    class TakesFirst(Told):
        def agrees(self, query, questions):
            return (self._alike, *(not self._alike for _ in questions[1:]))

    def agrees_batch(self, queries, questions):
        return [self.agrees(*one) for one in zip(queries, questions, strict=True)]

    other = replace(HOME, id="other", answer="Rome", priority=-1)
    found = read("Where was Quill seen?", HOME, other, beliefs=TakesFirst(True))
    assert found.fired == (HOME,)
    assert not read("Where was Quill seen?", HOME, other, beliefs=TakesFirst(False)).hit


def test_names_of_edits_that_are_not_wanted_are_not_tried():
    towns = [about(f"{name}ville", "Boss Town") for name in ("Oak", "Ash", "Elm", "Yew", "Fir")]
    last = towns[-1]
    query = "What is Boss Town like?"
    found = read(query, *towns, beliefs=Told(True), wanted=lambda edit: edit == last)
    assert found.fired == (last,)


def test_a_hit_that_nobody_can_answer_is_a_miss_of_the_query_as_it_was(models, tokenizer):
    gate = ByTable(follows={("Is the Elbe in Mumbai?", "river")})
    with wrapped(models, tokenizer, RIVER, gate=gate, reasoner="verbatim") as model:
        found = model.explain("Is the Elbe in Bombay?")
        assert (found.hit, found.canonical_query, found.effective_query) == (
            False,
            "",
            "Is the Elbe in Bombay?",
        )


@pytest.mark.parametrize(
    ("query", "silent", "fires"),
    [
        ("Which river flows through Bombay?", (), True),
        ("Which river flows through Bombay?", ("Which river flows through Bombay",), False),
        ("Which river flows through Bombay?", ("Where is Bombay?",), False),  # nor that name
        ("Which river flows through Bombay?", ("Where is Delhi?",), True),
        ("Where was Quill seen?", (), True),
        ("Where was Quill seen?", ("Where is Quill?",), False),  # likely is not enough
    ],
)
def test_a_silent_test_wins_over_another_name(query, silent, fires):
    edits = [replace(edit, tests=PatchTests((), silent)) for edit in (RIVER, HOME)]
    assert read(query, *edits, beliefs=Told(True)).hit is fires


# -- for people -------------------------------------------------------------------------------


def test_explain_says_as_what_a_question_was_read():
    decision = Decision("q?", (), (RIVER,), "verbatim", canonical_query=RIVER.question)
    lines = ["fires: river (route: verbatim)", f"canonical query: {RIVER.question}"]
    assert _verdict(decision).splitlines() == lines


def test_an_edit_on_the_command_line_may_have_aliases(tmp_path):
    cache = str(tmp_path / "cache")
    runner = CliRunner()
    made = runner.invoke(
        app,
        ["edit", "Where is the Met?", "Kiel", "--subject", "Met", "--alias", "Big House",
         "--alias", "the museum", "--cache", cache, "--json"],
    )  # fmt: skip
    assert json.loads(made.stdout)["patch"]["aliases"] == ["Big House", "the museum"]
    without = runner.invoke(app, ["edit", "Is it?", "Kiel", "--alias", "That", "--cache", cache])
    assert without.exit_code != 0 and "add subject" in " ".join(without.stderr.split())


def test_check_warns_of_one_alias_for_two_subjects():
    one, other = about("Aarhus", "Boss Town"), about("Bergen", "the Boss-Town")
    same = replace(one, id="again", question="Who leads Aarhus?")
    today = datetime.date(2030, 1, 1)
    assert not [p for p in review([one, same], today) if "alias" in p.message]
    [problem] = [p for p in review([one, same, other], today) if "alias" in p.message]
    assert problem.severity == "warning" and "'Aarhus'" in problem.message
