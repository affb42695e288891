# ruff: noqa: E501  one relation a line reads better than one wrapped over three
"""Questions beyond the facts table, written for training the gate.

The table's relations are few, and a gate that had seen only them would take anything else asked
about a known subject for one of them. ``{s}`` is the subject; ``{t}`` a second one, in relations
where their order matters.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asked:
    """One relation and the ways it is asked.

    :param kind: kind of its subjects, as in the facts table or :data:`SUBJECTS`.
    :param name: the relation's name.
    :param forms: the ways to ask that are trained on.
    :param tune: those that only tuning asks, if there are enough.
    :param test: those that only the test asks, if there are enough.
    :param mixed: the forms ask different things (a starred name): negatives only.
    """

    kind: str
    name: str
    forms: tuple[str, ...]
    tune: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    mixed: bool = False


SUBJECTS = {
    "device": "iPhone 6;iPhone 7;iPhone 12;Galaxy S9;Galaxy S10;Pixel 4;Pixel 5;ThinkPad X1;"
    "ThinkPad X2;PlayStation 4;PlayStation 5;Xbox One;Windows 7;Windows 10;Windows 11;"
    "Boeing 737;Boeing 747;Airbus A320;Airbus A380;Model 3;Model S;Kindle 3;Kindle 4;"
    "Python 2;Python 3;Java 8;Java 11;Nikon D750;Canon R5;GeForce 3080",
    "event": "World War I;World War II;the French Revolution;the Russian Revolution;"
    "the Olympic Games of 2008;the Olympic Games of 2012;the World Cup of 2010;"
    "the World Cup of 2014;the Battle of Hastings;the Battle of Waterloo;the Cold War;"
    "the Korean War;the Vietnam War;the Black Death;the Great Fire of London;Apollo 11;"
    "Apollo 13;the Treaty of Versailles;the Treaty of Rome;the Industrial Revolution",
    "shop": "your shop;the library;the Riverside Clinic;the Northgate Store;the swimming pool;"
    "the museum shop;the Oakhill Pharmacy;the help desk;the town hall;the Harbour Hotel;"
    "the Blue Door Bakery;the gym;the post office;the Lakeside Campsite",
    "plan": "the basic plan;the premium plan;the family plan;the student plan;the Gold card;"
    "the Silver card;the free trial;the annual subscription;the monthly subscription;"
    "the starter package;the business package",
    "thing": "the refund form;my invoice;the password;my order;the meeting room;the VPN;"
    "the printer;the parking permit;the badge;the travel expenses;the newsletter;my account;"
    "the API key;the backup;the holiday request;the laptop",
}
"""Subjects of kinds that the facts table lacks, separated by semicolons."""

_FORMS = """
country|population|How many people live in {s}?;What is the population of {s}?;How large is the population of {s}?;How many inhabitants does {s} have?;{s} population
country|area|How large is {s}?;What is the area of {s}?;How many square kilometres does {s} cover?;How big is {s}?;{s} area
country|president|Who is the president of {s}?;Who is {s}'s president?;Name the president of {s}.;Which person is president of {s}?
country|anthem|What is the national anthem of {s}?;What is {s}'s anthem called?;Which song is the anthem of {s}?
country|flag|What colours are on the flag of {s}?;What does the flag of {s} look like?;Describe {s}'s flag.
country|neighbours|Which countries border {s}?;What countries are next to {s}?;Who are the neighbours of {s}?
country|highest|What is the highest mountain in {s}?;Which is the tallest peak of {s}?;Name the highest point in {s}.
country|independence|When did {s} become independent?;In what year did {s} gain its independence?;Since when has {s} been independent?
country|religion|What is the main religion in {s}?;Which religion do most people in {s} have?;What faith is most common in {s}?
country|food|What is the national dish of {s}?;What do people in {s} eat?;Which food is typical of {s}?
country|largest_city|What is the largest city in {s}?;Which city in {s} has the most people?;Name the biggest city of {s}.
country|old_capital|What was the capital of {s} before?;Which city used to be the capital of {s}?;What is the former capital of {s}?
country|old_name|What was {s} called before?;What is the former name of {s}?;Under what name was {s} known earlier?
country|code|What is the calling code of {s}?;How do I phone someone in {s}?;Which dialling code does {s} have?
country|visa|Do I need a visa for {s}?;Is a visa needed to enter {s}?;Can I go to {s} without a visa?
country|weather|What is the weather like in {s}?;How hot does it get in {s}?;What climate does {s} have?
country|driving|On which side of the road do people drive in {s}?;Do they drive on the left in {s}?
country|distance|How far is {s} from {t}?;What is the distance between {s} and {t}?
country|exports|What does {s} export?;Which goods does {s} sell abroad?;What are {s}'s main exports?
city|population_city|How many people live in {s}?;What is the population of {s}?;How many inhabitants does the city of {s} have?
city|mayor|Who is the mayor of {s}?;Who runs the city of {s}?;Name {s}'s mayor.
city|founded_city|When was {s} founded?;How old is {s}?;In which year was the city of {s} founded?
city|airport|What is the airport of {s} called?;Which airport serves {s}?;Name the airport near {s}.
city|sights|What is there to see in {s}?;What are the sights of {s}?;Which places should I visit in {s}?
city|team|Which football club plays in {s}?;What is the football team of {s}?
city|timezone|What time is it in {s}?;In which time zone is {s}?;What is the time difference to {s}?
city|train|How do I get from {s} to {t}?;Is there a train from {s} to {t}?;Which is the best way from {s} to {t}?
city|flight|How long is the flight from {s} to {t}?;How many hours does it take to fly from {s} to {t}?
person|born|When was {s} born?;What is {s}'s date of birth?;In what year was {s} born?;When is the birthday of {s}?
person|died|When did {s} die?;In which year did {s} die?;What was the date of {s}'s death?
person|cause|How did {s} die?;What did {s} die of?;What was the cause of {s}'s death?
person|spouse|Who was {s} married to?;Who was the wife or husband of {s}?;Whom did {s} marry?
person|children|How many children did {s} have?;Did {s} have children?;Who are the children of {s}?
person|prize|Which prizes did {s} win?;Did {s} win a Nobel Prize?;What awards was {s} given?
person|school|Where did {s} study?;Which university did {s} go to?;What school did {s} attend?
person|grave|Where is {s} buried?;In which city is the grave of {s}?;What is the burial place of {s}?
person|residence|Where did {s} live?;In which house did {s} live?;What was the home of {s}?
person|height|How tall was {s}?;What was the height of {s}?
person|parents*|Who were the parents of {s}?;Who was the father of {s}?;What was the name of {s}'s mother?
person|met*|Did {s} ever meet {t}?;Was {s} a pupil of {t}?
person|influence|Who taught {s}?;Whose student was {s}?;Who was the teacher of {s}?
person|beat*|Did {s} defeat {t}?;Who won when {s} played against {t}?
book|published|When was {s} published?;In which year did {s} come out?;What is the publication date of {s}?
book|hero|Who is the main character of {s}?;What is the hero of {s} called?;Name the protagonist of {s}.
book|about|What is {s} about?;What happens in {s}?;Tell me the plot of {s}.
book|pages|How many pages does {s} have?;How long is {s}?
book|setting|Where does {s} take place?;In which city is {s} set?;Where is the story of {s} set?
book|publisher|Who published {s}?;Which publisher brought out {s}?;What company printed {s}?
film|star|Who stars in {s}?;Which actors play in {s}?;Who plays the main part in {s}?
film|release|When did {s} come out?;What year is {s} from?;When was {s} released?
film|length|How long is {s}?;How many minutes does {s} last?
film|music|Who wrote the music for {s}?;Whose music is in {s}?
painting|where|Where can I see {s}?;In which museum is {s}?;Where does {s} hang?
painting|painted|When was {s} painted?;How old is {s}?;In which year was {s} made?
painting|size|How large is {s}?;What size is {s}?
music|premiere|When was {s} first performed?;What year was {s} composed in?
company|ceo|Who is the CEO of {s}?;Who runs {s}?;Who is the boss of {s}?;Who leads {s}?;Who is the head of {s}?
company|founded|When was {s} founded?;In what year was {s} started?;How old is {s}?
company|staff|How many people work for {s}?;What is the number of employees of {s}?;How many staff does {s} have?
company|revenue|How much money does {s} make?;What is the revenue of {s}?;How much does {s} earn a year?
company|stock|What is the stock symbol of {s}?;Under which ticker is {s} traded?;On which exchange is {s} listed?
company|owner|Who owns {s}?;Which company does {s} belong to?;Who is the owner of {s}?
company|bought*|Did {s} buy {t}?;When did {s} take over {t}?;How much did {s} pay for {t}?
company|slogan|What is the slogan of {s}?;Which motto does {s} use?
company|support|How do I contact {s}?;What is the phone number of {s}?;How can I reach customer service at {s}?
landmark|height|How tall is {s}?;What is the height of {s}?;How many metres high is {s}?
landmark|built|When was {s} built?;How old is {s}?;In which year was {s} finished?
landmark|architect|Who built {s}?;Who designed {s}?;Which architect planned {s}?
landmark|ticket*|How much is a ticket for {s}?;What does it cost to visit {s}?;When is {s} open?
nature|altitude*|How high is {s}?;How long is {s}?;How deep is {s}?
nature|climbed*|Who first climbed {s}?;When was {s} discovered?;Can I swim in {s}?
animal|lifespan|How long does a {s} live?;What is the life span of a {s}?;How old can a {s} get?
animal|weight|How heavy does a {s} get?;How much does a {s} weigh?;What is the weight of a {s}?
animal|speed|How fast can a {s} run?;What is the top speed of a {s}?
animal|home|Where does the {s} live?;What is the habitat of the {s}?;In which countries are {s}s found?
animal|legs*|How many legs does a {s} have?;How many teeth does a {s} have?
animal|danger*|Is a {s} dangerous?;Does a {s} bite?;Can a {s} be kept as a pet?
animal|eyes|What colour are a {s}'s eyes?;What is the eye colour of a {s}?
animal|female*|What is a female {s} called?;What do you call a male {s}?
animal|group|What is a group of {s}s called?;How do you call many {s}s together?
animal|enemy|What animal hunts the {s}?;What eats a {s}?;Which enemies does the {s} have?
element|melting|At what temperature does {s} melt?;What is the melting point of {s}?;How hot must {s} be to melt?
element|discovered*|Who discovered {s}?;When was {s} discovered?
element|mass|What is the atomic mass of {s}?;What is the atomic weight of {s}?;How heavy is an atom of {s}?
element|use*|What is {s} used for?;What can be made of {s}?
element|price|How much does {s} cost?;What is the price of {s}?
element|colour|What colour is {s}?;What does {s} look like?
compound|taste*|What does {s} taste like?;Is {s} poisonous?;What is {s} used for?
compound|boiling|At what temperature does {s} boil?;What is the boiling point of {s}?
language|speakers|How many people speak {s}?;How many speakers does {s} have?
language|learn|How long does it take to learn {s}?;Is {s} hard to learn?
language|hello*|How do you say hello in {s}?;What is the word for thanks in {s}?
club|titles*|How many titles has {s} won?;When did {s} last win the league?
club|coach|Who coaches {s}?;Who is the manager of {s}?;Who trains {s}?
club|stadium|What is the stadium of {s} called?;In which stadium does {s} play?
club|match*|Did {s} win against {t}?;Who won, {s} or {t}?
university|students|How many students does {s} have?;How large is {s}?
university|fees|How much does it cost to study at {s}?;What are the fees of {s}?
university|founded_uni*|When was {s} founded?;Who founded {s}?
dish|recipe*|How do I make {s}?;What is the recipe for {s}?;What is in {s}?
dish|calories*|How many calories are in {s}?;Is {s} healthy?
moon|diameter*|How large is {s}?;What is the diameter of {s}?;Who discovered {s}?
god|parents_god*|Who are the parents of {s}?;Who is the father of {s}?
god|symbol_god*|What is the symbol of {s}?;Which animal is sacred to {s}?
invention|when|When was {s} invented?;In which year was {s} invented?;How old is {s}?
invention|works*|How does {s} work?;What is {s} good for?
instrument|strings*|How many strings does a {s} have?;How do you play the {s}?
instrument|price_i*|How much does a {s} cost?;Who is the best {s} player?
unit|convert*|How many inches are in a {s}?;Who is the {s} named after?;How large is one {s}?
state|governor|Who is the governor of {s}?;Who governs the state of {s}?
state|nickname*|What is the nickname of {s}?;When did {s} become a state?
state|population_s|How many people live in {s}?;What is the population of {s}?
resident|age|How old is {s}?;When is {s}'s birthday?
resident|phone|What is {s}'s phone number?;How can I call {s}?
resident|job*|What does {s} do for a living?;Where does {s} work?
resident|family*|Is {s} married?;Who are {s}'s parents?
device|price_d|How much does the {s} cost?;What is the price of the {s}?;How expensive is the {s}?;{s} price
device|launch|When did the {s} come out?;What is the release date of the {s}?;When was the {s} released?
device|size_d|How large is the screen of the {s}?;What size is the {s}?;How big is the {s}?
device|maker_d|Who makes the {s}?;Which company builds the {s}?
device|battery|How long does the battery of the {s} last?;What is the battery life of the {s}?
device|end|Until when is the {s} supported?;When does support for the {s} end?;How long will the {s} get updates?
event|start|When did {s} start?;When did {s} begin?;In what year did {s} start?
event|finish|When did {s} end?;In which year was {s} over?
event|won|Who won {s}?;Which side won in {s}?;Who was the winner of {s}?
event|deaths|How many people died in {s}?;How many deaths were there in {s}?
event|where_e|Where did {s} take place?;In which country was {s}?
event|why|Why did {s} happen?;What caused {s}?;What was the reason for {s}?
shop|open|When is {s} open?;What are the opening hours of {s}?;When does {s} open in the morning?;opening hours of {s}
shop|place|Where is {s}?;How do I get to {s}?;What is the address of {s}?
shop|number|What is the phone number of {s}?;How can I call {s}?
shop|boss|Who runs {s}?;Who is in charge of {s}?
shop|parking|Can I park at {s}?;Is there parking at {s}?
shop|pay|Can I pay by card at {s}?;Which cards does {s} accept?
plan|cost|How much is {s}?;What does {s} cost?;What is the price of {s}?
plan|contains|What is included in {s}?;What do I get with {s}?
plan|cancel|How do I cancel {s}?;Can I end {s} early?;How can I get out of {s}?
plan|lasts|How long does {s} last?;When does {s} run out?
plan|upgrade|How do I switch from {s} to {t}?;Can I move from {s} to {t}?
thing|find|Where do I find {s}?;Where can I get {s}?;Where is {s} kept?
thing|change*|How do I change {s}?;How can {s} be changed?
thing|delete|How do I delete {s}?;How can I get rid of {s}?
thing|responsible|Who is responsible for {s}?;Whom do I ask about {s}?;Who takes care of {s}?
thing|valid|How long is {s} valid?;When does {s} expire?
model|name_m|What is your name?;What are you called?;How should I call you?
model|age_m*|How old are you?;When were you made?;When were you trained?
model|size_m|How large are you?;How many parameters do you have?
model|live_m*|Where do you live?;Where are you from?;Where do you run?
model|able_m|What can you do?;How can you help me?;Which tasks are you good at?
model|data_m|What were you trained on?;What data have you seen?
model|know_m*|Who do you work for?;Do you know who made the telephone?;Who made the pyramids?;Who made this cake?;Who built the Eiffel Tower?;What have you made?;Did you make this?
model|human_m|Are you a human?;Are you a real person?;Am I talking to a robot?
country|whether*|Is {s} a republic?;Is {s} part of the EU?;Does {s} have a coast?;Is {s} larger than {t}?;Has {s} ever won the World Cup?;Is {s} a democracy?;Is it safe to travel to {s}?;Does {s} have an army?;Has {s} got nuclear weapons?;Is {s} an island?;Was {s} once a colony?
country|else_c*|How rich is {s}?;Why is {s} famous?;What is the longest river of {s}?;Who was the first leader of {s}?;What is the symbol of {s}?;How did {s} get its name?;What do you call people from {s}?;Which sport is most popular in {s}?;Who discovered {s}?;What language did people once speak in {s}?
city|whether_ci*|Is {s} a capital?;Is {s} by the sea?;Does {s} have a metro?;Is {s} larger than {t}?;Has {s} hosted the Olympic Games?;Is {s} an expensive place to live?;Is there a university in {s}?;Was {s} destroyed in the war?;Does it snow in {s}?;Is {s} worth a visit?;Is {s} close to {t}?;Do many tourists go to {s}?
city|else_ci*|Who founded {s}?;What was {s} called before?;What is {s} famous for?;How high above the sea is {s}?;Which hotel in {s} is good?;Which street in {s} is the oldest?;How big is {s}?;What do you call someone from {s}?;Which bridge in {s} is the longest?;What is the crest of {s}?
person|whether_p*|Is {s} still alive?;Was {s} rich?;Did {s} ever go to prison?;Could {s} play the piano?;Was {s} left-handed?;Did {s} believe in God?;Has {s} written a book?;Is there a statue of {s}?;Did {s} fight in a war?;Was {s} ill for long?;Did {s} speak several languages?;Is {s} related to {t}?
person|else_p*|Who was the best friend of {s}?;What is the full name of {s}?;What was the first job of {s}?;How old was {s} in the end?;Which book tells the life of {s}?;What did {s} look like?;What is a famous saying of {s}?;Which house was {s} brought up in?;Who played {s} in the film?
book|whether_b*|Is {s} a long read?;Is {s} suitable for children?;Does {s} have a happy end?;Did {s} sell well?;Is there a sequel to {s}?;Has {s} been translated well?;Was {s} ever banned?;Is {s} a true story?;Is {s} available as an audiobook?;Did {s} win a prize?;Is {s} better than {t}?
book|else_b*|In what language was {s} first written?;How does {s} begin?;Who reads the audiobook of {s}?;Who translated {s}?;Which characters are in {s}?;How many copies of {s} were sold?;What is the first sentence of {s}?;Who inspired {s}?;How many chapters are in {s}?;Why is {s} so famous?;Where can I buy {s}?
play|whether_pl*|Is {s} a comedy?;Does {s} end well?;Is {s} in verse?;Is {s} often staged today?;Was {s} a success at first?;Do they teach {s} at school?
play|else_pl*|When was {s} first staged?;Where does {s} take place?;Who is the hero of {s}?;What happens in {s}?;How long is {s}?;Who played in {s} on the first night?
film|whether_f*|Did {s} win anything?;Is {s} in black and white?;Is {s} based on a book?;Is there a second part of {s}?;Is {s} suitable for children?;Was {s} a success?;Does the dog die in {s}?;Can I stream {s} anywhere?;Is {s} better than {t}?
film|else_f*|Where was {s} shot?;What is {s} about?;How does {s} end?;How much did {s} cost to make?;Who produced {s}?;Who wrote the script of {s}?;Which studio made {s}?;Who is the villain in {s}?
painting|whether_pa*|Is {s} worth a million?;Is {s} a portrait?;Was {s} ever damaged?;Is {s} on show today?;Does {s} have a frame of gold?
painting|else_pa*|Who owns {s}?;What does {s} show?;Who is the woman in {s}?;How much was paid for {s}?;In which style is {s} painted?;Who stole {s}?;Why is {s} so famous?
sculpture|whether_sc*|Is {s} hollow?;Was {s} ever damaged?;Is {s} older than {t}?;Can one touch {s}?
sculpture|else_sc*|Where does {s} stand?;How tall is {s}?;What is {s} made of?;Whom does {s} show?;When was {s} made?
music|whether_mu*|Is {s} hard to play?;Does {s} have a choir?;Was {s} a success at first?;Is {s} sad?;Is {s} in a minor key?;Is {s} an opera?;Has {s} been used in a film?
music|else_mu*|How long does {s} last?;For whom was {s} written?;Where was {s} first played?;Which orchestra plays {s} best?;What is {s} about?
song|whether_so*|Was {s} a number one?;Is {s} a love song?;Is there a video of {s}?;Is {s} older than {t}?;Is {s} hard to sing?
song|else_so*|When did {s} come out?;Who wrote the words of {s}?;How does {s} go?;What is {s} about?;In which film can you hear {s}?
company|whether_co*|Is {s} bankrupt?;Is {s} listed on an exchange?;Does {s} pay a dividend?;Is {s} older than {t}?;Is {s} a good place to work?;Does {s} have shops abroad?;Has {s} been fined?;Does {s} sell online?;Was {s} bought by {t}?;Is {s} hiring?
company|else_co*|Where does the name {s} come from?;How many shops does {s} have?;What does the logo of {s} show?;Who are the rivals of {s}?;When did {s} go public?;Who designed the logo of {s}?;What was the first name of {s}?;Which companies belong to {s}?
landmark|whether_l*|Is {s} open at night?;Can I climb {s}?;Is {s} older than {t}?;Was {s} ever destroyed?;Is {s} worth a visit?;Do I have to pay at {s}?;Is {s} taller than {t}?
landmark|else_l*|Why was {s} built?;Who paid for {s}?;What is {s} made of?;How many steps does {s} have?;What is inside {s}?;How do I get to {s} by bus?;What is {s} used for today?
nature|whether_n*|Is {s} dangerous?;Is there snow on {s}?;Are there fish in {s}?;Is {s} larger than {t}?;Has anybody died at {s}?;Is {s} a national park?;Can you see {s} from space?
nature|else_n*|How did {s} come about?;What does the name {s} mean?;How old is {s}?;What animals live at {s}?;What is the weather like at {s}?;Who named {s}?;How far is {s} from {t}?
animal|whether_a*|Is the {s} endangered?;Does a {s} sleep in winter?;Is a {s} faster than a {t}?;Do {s}s live in groups?;Can a {s} see in the dark?;Is a {s} clever?
animal|else_a*|How large does a {s} get?;How many young does a {s} have?;How long does a {s} sleep?;Where does a {s} sleep?;How do I keep a {s} away?;How many {s}s are left?;What does a {s}'s track look like?;How high can a {s} jump?;What is the scientific name of the {s}?
element|whether_el*|Is {s} a metal?;Is {s} radioactive?;Does {s} rust?;Is {s} heavier than {t}?;Is {s} poisonous?;Does {s} burn?;Is {s} found in the body?;Can {s} be magnetic?
element|else_el*|Where is {s} found?;How was {s} discovered?;What does the name {s} mean?;At what temperature does {s} boil?;How dense is {s}?;In which group is {s}?;How many electrons are in the outer shell of {s}?;Which country mines most {s}?
compound|whether_cm*|Does {s} burn?;Is {s} an acid?;Can I drink {s}?;Is {s} a gas?;Does {s} smell?
compound|else_cm*|What colour is {s}?;How is {s} made?;Where does {s} occur?;How dense is {s}?;Who discovered {s}?;How do I store {s}?
language|whether_la*|Is {s} older than {t}?;Is {s} dying out?;Does {s} have cases?;Is {s} written from right to left?;Can one study {s} here?;Is {s} like {t}?
language|else_la*|Where is {s} spoken?;How many letters does {s} have?;How many cases does {s} have?;Which words came from {s}?;What is the oldest text in {s}?;How do I count to ten in {s}?
club|whether_cl*|Is {s} in the first division?;Has {s} got a women's team?;Is {s} in debt?;Did {s} ever win the cup?;Is {s} playing tonight?;Is {s} better than {t}?
club|else_cl*|When was {s} founded?;Who owns {s}?;Who is the captain of {s}?;What is the nickname of {s}?;Who scored most goals for {s}?;How do I get tickets for {s}?;Who is the rival of {s}?
university|whether_u*|Is {s} better than {t}?;Is {s} private?;Is {s} a good place to study law?;Does {s} have a library?;Do they teach medicine at {s}?;Is it hard to get into {s}?
university|else_u*|Who is the rector of {s}?;Which famous people studied at {s}?;How old is {s}?;What is the motto of {s}?;How do I apply to {s}?;Which subjects are taught at {s}?
dish|whether_d*|Is {s} vegetarian?;Is {s} hot?;Can I freeze {s}?;Does {s} contain nuts?;Is {s} hard to make?
dish|else_d*|Which wine goes with {s}?;How long do I have to cook {s}?;Who invented {s}?;What does {s} taste like?;When do people eat {s}?;What does the word {s} mean?
moon|whether_mo*|Is there water on {s}?;Does {s} have an atmosphere?;Has a probe landed on {s}?;Is {s} larger than {t}?;Could anything live on {s}?
moon|else_mo*|When was {s} discovered?;How cold is it on {s}?;How long does {s} take for one turn?;What is {s} made of?;Who gave {s} its name?
god|whether_g*|Is {s} good or evil?;Did {s} have children?;Is {s} older than {t}?;Was {s} married?;Is {s} in the old poems?;Do people still worship {s}?
god|else_g*|Whom did {s} marry?;Where did {s} live?;What did {s} look like?;Which temple was built for {s}?;How did {s} die?;Which planet is named after {s}?;Who are the children of {s}?
invention|whether_i*|Is there a patent on {s}?;Is {s} older than {t}?;Is {s} still in use?;Was {s} an accident?;Did {s} make anyone rich?
invention|else_i*|Where was {s} invented?;Why was {s} invented?;What did the first model of {s} look like?;How much did {s} cost at first?;How did {s} change the world?
instrument|whether_in*|Is the {s} hard to learn?;Is a {s} louder than a {t}?;Is the {s} part of an orchestra?;Is the {s} made of wood?;Can children play the {s}?
instrument|else_in*|Who invented the {s}?;How is a {s} tuned?;In which country is the {s} played most?;How many keys does a {s} have?
unit|whether_un*|Is a {s} longer than a {t}?;Is the {s} still used?;Is the {s} part of the SI?;Do scientists use the {s}?
unit|else_un*|When was the {s} introduced?;How is the {s} defined?;How do I spell {s}?;In which countries is the {s} used?
state|whether_s*|Is {s} larger than {t}?;Is {s} on the coast?;Is {s} a swing state?;Is {s} warm in winter?;Is there an income tax in {s}?;Do bears live in {s}?
state|else_s*|How large is {s}?;What is the state flower of {s}?;What is the motto of {s}?;Which states border {s}?;Which river runs through {s}?;Who was born in {s}?;How did {s} get its name?
resident|whether_r*|Is {s} at home today?;Does {s} have a dog?;Is {s} a nice person?;Has {s} moved?;Does {s} drive a car?
resident|else_r*|What is {s}'s email address?;When did {s} move in?;How tall is {s}?;Which car does {s} drive?;Who lives with {s}?
device|whether_de*|Is the {s} waterproof?;Is the {s} better than the {t}?;Does the {s} have a camera?;Can I repair the {s} myself?;Is the {s} still sold?
event|whether_ev*|Was {s} a success?;Did many people die in {s}?;Was {s} longer than {t}?;Is there a film about {s}?;Could {s} have been avoided?
model|whether_m*|Are you intelligent?;Can you remember me?;Do you speak several languages?;Are you free of charge?;Do you have feelings?;Can you make mistakes?;Do you like whoever made you?
"""


def asked() -> tuple[Asked, ...]:
    """Return the relations of this module."""
    rows = [line.split("|") for line in _FORMS.strip().splitlines()]
    dealt = [_dealt(forms.split(";")) for _, _, forms in rows]
    trained = {form for forms, _, _ in dealt for form in forms}  # of another kind, too

    def unseen(forms: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(form for form in forms if form not in trained)

    return tuple(
        Asked(kind, name.rstrip("*"), forms, unseen(tune), unseen(test), name.endswith("*"))
        for (kind, name, _), (forms, tune, test) in zip(rows, dealt, strict=True)
    )


def _dealt(forms: list[str]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the forms for training, for tuning and for the test; of few, all are trained on."""
    each = 0 if len(forms) < 4 else max(1, len(forms) // 6)
    kept = len(forms) - 2 * each
    return tuple(forms[:kept]), tuple(forms[kept : kept + each]), tuple(forms[kept + each :])


COMMON = """
account action actor address administration advice age agreement album amount animal answer area
army article artist author award bank battery best biggest birth birthday blood board body book
boss bottle box boy branch brand bridge brother budget building business button buy camera capital
car card career case cat cause cell center centre chair chairman chance change channel character
charge chart chief child children choice church city class client climate clothes club coach coat
code coffee coin college color colour company competition computer condition conference contract
control convert cost council country couple course court creator cup currency current customer cut
data date daughter day dead deadline death debt decision degree delivery department deputy design
detail device difference dinner director discount discovery disease distance doctor document dog
dollar domain door drink drive driver duration early earn earth east eat economy editor education
effect election email emergency employee end energy engine entrance entry episode error estate
event exam example exchange executive expensive expire eye face fact family famous fastest father
fee fees female field file film final finance fire first fix flag flight floor food football form
founder founding free friend fuel function fund future game gas gender girl goal god gold good
government governor group guarantee guest guide hair half hand happen head headquarters health
heart heat height help hero high highest history holiday home hospital hotel hour hours house
human hundred husband idea illness income independence index industry information inside insurance
interest internet invention inventor invoice island item job journey judge key kid kind king
kitchen knowledge label lake land language large largest last late latest law lawyer leader league
learn leave left legal length letter level library license life light limit line link list live
loan local location long longest lowest lunch machine main maker male man manager map market
marriage match maximum mayor meal meaning measure meat medal medicine meet meeting member menu
message metal middle mile military minimum minister minute mobile model money month mother
mountain mouth movie much museum music nation national native nature nearest network new news next
nickname night noise north note novel number object offer office officer official oil old oldest
open opening opposite order origin original owner page paint painter pair paper parent park parking
part partner party password pay payment peace people percent period permission person pet phone
photo picture piece place plan planet plant play player point poem police policy population
position post power president previous price prime prince princess prize problem process product
production professor profit program programme project property protein public publisher purpose
quality quantity queen question race radio rank rate reach reason recent recipe record refund
region release religion rent report republic request require research restaurant result return
revenue right ring rise river road role room round rule run salary sale sauce scale school science
score screen sea season seat second secret section sector sell senate sequel series service set
shape share ship shop short show side sign signal singer sister site size skin sky sleep slogan
small smallest software soldier son song sound source south space speak speaker special species
speed sport staff stage star start state station status stock stone store story street strength
student style subject successor sugar summer sun support surface surname symbol system tail take
talk tall tallest tax teacher team technology temperature temple term test text theme thing ticket
time title today top topic total tower town track trade tradition train transport travel treatment
tree trip truth type uncle unit university update use user vacation value vehicle version victory
video view village visit voice volume vote wage wait wall war warranty water wave way weapon wear
weather website week weekend weight west wheel wife win wind window winner winter woman word work
worker world worth write writer year yesterday young zone
"""
"""Words that name nothing in particular, beside those of the phrasings."""
