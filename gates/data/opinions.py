# ruff: noqa: E501  one aspect or trait a line reads better than one wrapped over three
"""What reviews are about and what they say of it: aspects × traits, for conditions that claim.

"the food is delicious" is an aspect (food) and one pole of a trait. The groups of both stand on one
side of the split as a whole, so that a condition held out has neither its aspect nor its opinion
words in training.
"""

from __future__ import annotations

from dataclasses import dataclass

_ASPECTS = """
food:the food|meal;dishes*;soup;pasta;steak;dinner
food:the breakfast|breakfast;pancakes*;croissants*;scrambled eggs*
food:the coffee|coffee;espresso;cappuccino
food:the dessert|dessert;cheesecake;ice cream;chocolate mousse
place:the room|room;bedroom;suite
place:the bathroom|bathroom;shower;bathtub
thing:the bed|bed;mattress;pillows*
person:the staff|staff;waiter;receptionist;people at the desk*
service:the service|service;table service;customer service
place:the hotel|hotel;guesthouse;hostel

thing:the battery|battery;accumulator
thing:the screen|screen;display;monitor
thing:the keyboard|keyboard;keys*
thing:the camera|camera;lens
thing:the laptop|laptop;notebook;computer
thing:the headphones*|headphones*;earbuds*
thing:the phone|phone;mobile;smartphone
service:the delivery|delivery;shipping;shipment
thing:the packaging|packaging;box;wrapping
text:the manual|manual;instructions*;guide

work:the film|film;movie;picture
work:the plot|plot;story;storyline
person:the actors*|actors*;cast;leading actress
work:the music|music;soundtrack;score
work:the book|book;novel;paperback
person:the author|author;writer;novelist
work:the ending|ending;last scene;finale
work:the dialogue|dialogue;lines*;script
work:the series|series;show;first season
work:the game|game;video game;gameplay

place:the beach|beach;seaside;shore
place:the pool|pool;swimming pool;hot tub
place:the garden|garden;backyard;terrace
person:the tour guide|tour guide;guide;driver
service:the excursion|excursion;boat trip;day trip
place:the airport|airport;terminal;lounge

person:the teacher|teacher;instructor;tutor
work:the course|course;class;lessons*
text:the textbook|textbook;workbook;handouts*
work:the lecture|lecture;talk;seminar
person:the students*|students*;pupils*;classmates*
place:the campus|campus;library;lecture hall

thing:the car|car;sedan;rental car
thing:the seats*|seats*;back seat;driver's seat
thing:the engine|engine;motor
person:the mechanic|mechanic;repairman
service:the repair|repair;inspection;maintenance
thing:the bike|bike;bicycle;e-bike

thing:the dress|dress;skirt;gown
thing:the shoes*|shoes*;sneakers*;boots*
thing:the jacket|jacket;coat;parka
thing:the fabric|fabric;cloth;lining
service:the tailor's service|alterations*;fitting;tailoring
place:the shop|shop;store;boutique

person:the doctor|doctor;physician;surgeon
person:the nurse|nurse;nurses*;midwife
service:the treatment|treatment;therapy;check-up
place:the clinic|clinic;waiting room;ward
thing:the medicine|medicine;pills*;cough syrup
person:the dentist|dentist;hygienist

food:the pizza|pizza;calzone;garlic bread
food:the wine|wine;Riesling;house red
food:the salad|salad;vegetables*;greens*
place:the restaurant|restaurant;diner;bistro
person:the cook|cook;chef;kitchen team
service:the catering|catering;buffet;room service

food:the sushi|sushi;ramen;noodles*
food:the cake|cake;muffins*;pastry
thing:the tent|tent;sleeping bag;backpack
place:the campsite|campsite;camping ground;caravan park
person:the landlord|landlord;host;owner
service:the cleaning|cleaning;laundry;housekeeping
work:the concert|concert;gig;performance

text:the website|website;web page;online shop
work:the app|app;application;program
text:the report|report;article;summary
service:the support|support;helpline;hotline
person:the developers*|developers*;programmers*;engineers*
work:the update|update;new version;latest release
"""

_TRAITS = """
food place thing person service text work|good;great;fine;solid|bad;poor;terrible;awful
+ food|delicious;tasty;mouth-watering;could not stop eating the {n}|tasteless;bland;disgusting;had to spit out the {n}
+ place thing|clean;spotless;tidy;there was not a speck of dust on the {n}|dirty;filthy;grimy;the {n} had stains everywhere
+ person|friendly;kind;welcoming;the {n} greeted us with a smile|rude;unfriendly;impolite;the {n} shouted at us
+ thing|comfortable;cosy;the {n} felt like a cloud|uncomfortable;awkward;my back hurt because of the {n}

+ work|exciting;thrilling;gripping;the {n} kept me on the edge of my seat|boring;dull;tedious;I fell asleep during the {n}
+ service|fast;quick;prompt;the {n} took no time at all|slow;sluggish;late;the {n} took forever
+ thing|sturdy;durable;robust;the {n} still works after years|fragile;flimsy;breakable;the {n} broke on the first day
+ person|competent;skilled;capable;the {n} knew exactly what to do|incompetent;clueless;unskilled;the {n} had no idea of the job

+ text|clear;understandable;plain;even a child could follow the {n}|unclear;confusing;baffling;I could not make sense of the {n}
+ place|quiet;silent;peaceful;you could hear a pin drop in the {n}|noisy;loud;rowdy;you could not hear your own voice in the {n}
food thing service|cheap;inexpensive;affordable;the {n} cost next to nothing|expensive;overpriced;pricey;the {n} cost an arm and a leg

food place thing person service text work|wonderful;superb;excellent;I loved the {n}|dreadful;horrible;lousy;I hated the {n}
work|funny;hilarious;witty;I laughed out loud at the {n}|sad;depressing;heart-breaking;the {n} made me cry
place|large;spacious;roomy;there was space for everyone in the {n}|small;cramped;tiny;you could hardly turn round in the {n}
+ person|honest;sincere;trustworthy;the {n} told us the truth|dishonest;deceitful;crooked;the {n} lied to us
food|hot;steaming;piping hot;I burnt my tongue on the {n}|cold;chilly;lukewarm;the {n} had cooled down completely
thing|light;lightweight;portable;I hardly notice the weight of the {n}|heavy;bulky;weighty;my arm aches from carrying the {n}

food place thing person service text work|outstanding;fantastic;brilliant;nothing could have been better than the {n}|disappointing;mediocre;inferior;I expected far more from the {n}
+ food|fresh;crisp;just picked;the {n} came straight from the market|stale;mouldy;old;the {n} was past its date
+ person|patient;calm;understanding;the {n} took all the time I needed|impatient;hasty;brusque;the {n} rushed me out
+ thing place|beautiful;pretty;elegant;I cannot take my eyes off the {n}|ugly;hideous;shabby;the {n} hurts the eye
+ work text|original;creative;inventive;I have never seen anything like the {n}|predictable;clichéd;unoriginal;we have all seen the {n} a hundred times
+ service text|reliable;dependable;accurate;you can count on the {n}|unreliable;erratic;inaccurate;you never know with the {n}

thing|modern;new;state of the art;the {n} is the latest model|outdated;old-fashioned;antiquated;the {n} belongs in a museum
+ place|safe;secure;well guarded;I felt at ease at night in the {n}|dangerous;unsafe;risky;I was afraid to walk alone in the {n}
work text|long;lengthy;the {n} went on for hours|short;brief;the {n} was over in minutes
+ person|hard-working;diligent;busy;the {n} never took a break|lazy;idle;the {n} did nothing all day
food|sweet;sugary;the {n} was full of honey|salty;oversalted;the {n} tasted like sea water
+ service|easy;simple;effortless;the {n} was no trouble at all|complicated;difficult;cumbersome;the {n} was a headache from start to end
"""


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun phrase without its article.

    :param text: the noun.
    :param plural: whether it takes "were".
    """

    text: str
    plural: bool


@dataclass(frozen=True, slots=True)
class Aspect:
    """Something a review is about.

    :param sort: ``food``, ``person``, …: says which traits it can have.
    :param name: how a condition names it.
    :param nouns: how people name it.
    """

    sort: str
    name: Noun
    nouns: tuple[Noun, ...]


@dataclass(frozen=True, slots=True)
class Trait:
    """Something that can be said of an aspect, and its opposite.

    :param sorts: the aspects that can have it; all of them if it is no more than good or bad.
    :param judges: whether who says it says that the thing is good or bad, too.
    :param poles: for each of the two, its adjectives and its sentences about ``{n}``.
    """

    sorts: frozenset[str]
    judges: bool
    poles: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]

    @property
    def general(self) -> bool:
        """Whether it says no more than good or bad."""
        return len(self.sorts) > 3


def aspect_groups() -> tuple[tuple[Aspect, ...], ...]:
    """Return the aspects by the sort of review that has them."""
    return tuple(
        tuple(aspect_of(line) for line in block.splitlines())
        for block in _ASPECTS.strip().split("\n\n")
    )


def trait_groups() -> tuple[tuple[Trait, ...], ...]:
    """Return the traits in groups, each with some for every aspect."""
    return tuple(
        tuple(trait_of(line) for line in block.splitlines())
        for block in _TRAITS.strip().split("\n\n")
    )


def aspect_of(line: str) -> Aspect:
    """Return the aspect that a line tells: ``sort:the name|noun;noun``, plurals starred."""
    head, nouns = line.split("|")
    sort, name = head.split(":")
    return Aspect(sort, _noun(name.removeprefix("the ")), tuple(map(_noun, nouns.split(";"))))


def _noun(text: str) -> Noun:
    return Noun(text.rstrip("*"), text.endswith("*"))


def trait_of(line: str) -> Trait:
    """Return the trait that a line tells: ``sorts|one pole|the other``."""
    sorts, *poles = line.split("|")
    words = [tuple(pole.split(";")) for pole in poles]
    return Trait(
        frozenset(sorts.split()) - {"+"},
        sorts.startswith("+"),
        tuple(
            (
                tuple(word for word in pole if "{n}" not in word),
                tuple(word for word in pole if "{n}" in word),
            )
            for pole in words
        ),
    )
