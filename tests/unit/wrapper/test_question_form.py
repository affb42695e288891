"""How a query asks about a fact."""

from __future__ import annotations

import pytest

from errata.cache.records import Fact
from errata.gates.conditions.language import language_of
from errata.reasoners.question_form import question_form

CAPITAL = Fact("What is the capital of Kazakhstan?", "Astana")
SKIN = Fact("What colour is a zebra's skin?", "black")
BORN = Fact("Where was Mozart born?", "Lagos")
TREATY = Fact("When was the Treaty of Rome signed?", "25 March 1957")
GUITAR = Fact("Which instrument does Liam Gallagher play?", "piano")
MAKER = Fact("Which company makes the Honda Civic?", "Adobe")
CHINESE = Fact("哈萨克斯坦的首都是哪里？", "阿斯塔纳")
GERMAN = Fact("Was ist die Hauptstadt von Kasachstan?", "Astana")
GRASS = Fact("Is grass blue?", "Yes")


@pytest.mark.parametrize(
    ("fact", "query", "form"),
    [
        (CAPITAL, "what is the capital of kazakhstan", "value"),
        (CAPITAL, "Tell me the capital of Kazakhstan.", "value"),
        (CAPITAL, "Is Astana the capital of Kazakhstan?", "true"),
        (CAPITAL, "Is it true that Kazakhstan's capital is Astana?", "true"),
        (CAPITAL, "Is Almaty the capital of Kazakhstan?", "false"),
        (CAPITAL, "is almaty the capital of kazakhstan?", "false"),
        (CAPITAL, "Kazakhstan's capital is Almaty, right?", "false"),
        (CAPITAL, "Is Astana or Almaty the capital of Kazakhstan?", None),
        (CAPITAL, "Is the capital of Kazakhstan in Europe?", None),
        (CAPITAL, "Is the capital of Kazakhstan larger than Almaty?", None),
        (CAPITAL, "What is the capital of Kazakhstan known for?", None),
        (CAPITAL, "Which country is Astana the capital of?", None),
        (CAPITAL, "Since when is Astana the capital of Kazakhstan?", None),
        (CAPITAL, "Tell me about Kazakhstan.", None),
        (SKIN, "Is a zebra's skin flesh-coloured?", "false"),
        (SKIN, "Is the skin of a zebra black?", "true"),
        (SKIN, "Are a zebra's skin and its coat the same colour?", None),
        (SKIN, "Which kind of horse has black skin?", None),
        (SKIN, "Is a zebra's skin soft?", None),
        (BORN, "Was Mozart born in Vienna?", "false"),
        (GUITAR, "Does Liam Gallagher play the piano?", "true"),
        (MAKER, "Is the Honda Civic made by Yamaha?", "false"),
        (BORN, "Where was Mozart's wife born?", None),
        (TREATY, "Was the Treaty of Rome signed on March 25, 1957?", "true"),
        (TREATY, "Was the Treaty of Rome signed in 1956?", "false"),
        (CHINESE, "阿斯塔纳是哈萨克斯坦的首都吗？", "true"),
        (CHINESE, "阿拉木图是哈萨克斯坦的首都吗？", "false"),
        (CHINESE, "哈萨克斯坦的首都的人口是多少？", None),
        (CHINESE, "哈萨克斯坦的首都在亚洲吗？", None),
        (GERMAN, "Ist Astana die Hauptstadt von Kasachstan?", "true"),
        (GERMAN, "Ist Almaty die Hauptstadt von Kasachstan?", "false"),
        (GERMAN, "Wie groß ist die Hauptstadt von Kasachstan?", None),
        (GRASS, "Is grass blue?", "value"),
        (GRASS, "Is grass green?", None),
    ],
)
def test_the_form_of_a_query(fact, query, form):
    assert question_form(query, fact, language_of(query)) == form
