# ruff: noqa: E501  one condition a line reads better than one wrapped over three
"""Formal and lexical conditions to measure with: texts of which each holds, and does not."""

from __future__ import annotations

from collections.abc import Iterator

from errata.gates.data.examples import Example
from errata.gates.features import Scope

_FORMAL = """
the question is in Chinese|斑马的皮肤是什么颜色的？;哈萨克斯坦的首都在哪里|What is the capital of China?;東京はどこですか;서울은 어디에 있나요?
the text is in Japanese|東京はどこですか;シマウマの肌は何色ですか|斑马的皮肤是什么颜色的？;Where is Tokyo?
the user writes in German|Was ist die Hauptstadt von Peru?;Wer hat das Telefon erfunden?;Ich möchte mein Geld zurück, bitte.|What is the capital of Germany?;Wat is de hoofdstad van Peru?;Do you speak German?
the message is written in French|Quelle est la capitale du Pérou ?;Je ne sais pas où est mon colis.|Who teaches French?;¿Cuál es la capital de Francia?
the question is not in English|Wie heißt die Hauptstadt von Peru?;¿Dónde está mi pedido?;Где находится Москва?|What is the capital of Peru?;Where is my order?
the text is in Russian|Где находится Москва?;Как тебя зовут?|Where is Moscow?;Де знаходиться Київ і що це?
the question is in Spanish|¿Cuál es la capital de Perú?;¿Dónde está mi pedido?|Qual é a capital do Peru?;Is Spanish hard to learn?
the text is in Arabic|ما هي عاصمة مصر؟|What is the capital of Egypt?;مهم نیست چه می‌گویند
the text mentions a date|See you on May 7, 2015.;It was due 2015-05-07.;the 3rd of March would suit me;am 7.5.2015;在5月7日见面|I may come, or not.;Version 3.10 is out.;call me at 10:30;I have 7 of 15 pages
the message contains a time|The train leaves at 10:45.;let us meet at 5 pm|The score was 3 to 1.;We met in 2015.
the text mentions a year|The wall fell in 1989.;since 2004 we have lived here|It cost $2015.;I am 45 years old.;room 12345
the question contains a number|Do you have 3 rooms?;I need seven of them.|Do you have a room?;How many are there?
the text does not contain a digit|No numbers here, not even seven.|There are 7 of them.
the message contains an e-mail address|Write to me at a.b@example.com, please.;jane@uni-jena.de|Please e-mail me.;My handle is @jane.;@home
the text includes a link|see https://example.com/a for more;www.example.org has it|Is there a link?;example of http
the text contains a phone number|Call +49 3641 123456 now.;my number is 555-123-4567|Call me.;It cost 1,200 in 2015.;2015-05-07x
the message names a price|It was $12.50.;only 30 euros;costs 5€|Is it expensive?;I have 30 friends.
the text contains a percentage|I got 20% off.;ten of them, or 5 percent|a large share;20 of 100
the text contains an emoji|Great 🎉;so tired 😴|Great :-);so tired!
the text contains a hashtag|love this #sunset|we are #1 reason;item # 5 is broken
the text contains a question mark|Who?;Really? I doubt it.|Tell me who.;who is it
the text does not contain a question mark|Tell me who.|Who?
the text ends with an exclamation mark|Give it back!|Give it back! Please.
the message starts with "Dear"|Dear Sir or Madam, I write to you.|My dear friend!;Oh dear.
the text is in all capitals|I WANT MY MONEY BACK!;HELP 24/7|I want MY money back!;Help
the text is in lower case|no capitals here, at all|No capitals here
the message is longer than 10 words|This is a message that has, if I count them well, more than ten words.|Just five words in here.
the question is shorter than 5 words|Who made you?;Why|Who made you and when was that done?
the text has at most 20 characters|Too short to matter|This one is clearly longer than that.
the text contains more than two sentences|One. Two. Three.;I came. I saw! Did I win?|One. Two.;Only one here
the text is a question|Who made you?;where is my order|Tell me who made you.;My order is lost.
the text is a number|42;-3.5;1,000|forty-two;42 apples
the text contains a line break|one\\ntwo|one two
the text contains code|run `ls -l` first|run ls first
"""

_LEXICAL = """
the text contains the word "refund"|I want a REFUND.;refund, please|refunding is fun;Give me my money back.
the message mentions "Jane Roe" or "John Doe"|Where is Jane Roe?;john doe called|Jane called;Roe is a river
the user uses the words "cancel" and "order"|Please cancel my order.|Cancel it.;My order is here.
the text does not contain the word "please"|Give it to me.|Please give it to me.
the question contains the phrase "how much"|How much is it?;Tell me how much|How many are there?;much ado
the text contains the word “退款”|我要退款。|我要付款。
"""


def certain_examples() -> Iterator[Example]:
    """Yield pairs of a text and a whole condition; kinds ``formal`` and ``lexical``."""
    for kind, block in (("formal", _FORMAL), ("lexical", _LEXICAL)):
        for line in block.strip().splitlines():
            condition, holds, fails = line.split("|")
            for text in holds.split(";"):
                yield Example(text.replace("\\n", "\n"), Scope(condition), "same", kind)
            for text in fails.split(";"):
                yield Example(text.replace("\\n", "\n"), Scope(condition), "none", kind)
