# ruff: noqa: E501  one topic a line reads better than one wrapped over three
"""Topics that people ask about, in groups of related ones, for conditions such as "… about refunds".

A group stands on one side of the split as a whole, and the topics of a group are each other's hard
negatives: delivery times and damaged goods are nearer to each other than to the weather.
"""

from __future__ import annotations

from dataclasses import dataclass

_TOPICS = """
refunds/getting money back|a refund;my money back|When will I be reimbursed?;I want the money I paid returned to me.;Can I get my money back?;You charged me and I sent it back, where is the payment?
delivery times/shipping|my parcel;the delivery;express shipping|When will my order get here?;How long does shipping take?;My package still has not come.;Does it arrive before Friday?
damaged goods|a broken item;a scratched screen|It arrived broken.;The glass was cracked when I opened the box.;Half of the plates were in pieces.;There is a dent in the side.
discounts/vouchers|a voucher;the discount code;a coupon|Is there anything off for students?;The code does not take anything off the price.;Do you have a sale on?;Can you make it cheaper for two?

medical advice/health problems|my symptoms;this rash;a headache|Which medicine should I take?;My chest hurts when I breathe.;Is this rash dangerous?;I have had a fever for three days.
pregnancy|my pregnancy;being pregnant|I am expecting a baby, can I fly?;Which week does the baby start kicking?;Am I allowed to eat sushi while expecting?;Morning sickness is killing me.
allergies|a peanut allergy;hay fever|My eyes itch every spring.;Does this contain nuts?;I get hives from cats.;I cannot have gluten or milk.
dentists/teeth|a toothache;my braces;a filling|My gums bleed when I brush.;Does it hurt to have a root canal?;How often should I floss?;One of my molars is loose.

the weather|the weather;the forecast;tomorrow's temperature|Will it rain tomorrow?;How cold is it outside?;Do I need an umbrella?;Is it sunny in Rome?
earthquakes|an earthquake;the tremor|The ground shook last night.;How strong was it on the Richter scale?;Where should I stand when everything shakes?;Was that an aftershock?
climate change/global warming|greenhouse gases;global warming|Is the planet getting hotter?;Why are the glaciers melting?;How much carbon does a flight cause?;Will the sea level rise?
astronomy/stars and planets|the stars;a telescope;a black hole|Which planet has rings?;How far away is the nearest star?;When is the next eclipse?;What is inside a galaxy?

cooking/recipes|a recipe for soup;baking bread|How long do I boil an egg?;What can I use instead of butter?;My sauce is too thin.;At what heat do I roast a chicken?
diets/losing weight|a low-carb diet;losing weight|How many calories should I eat?;I want to get rid of ten kilos.;Is intermittent fasting any good?;What should I eat to be slimmer?
wine|a bottle of red wine;a good Merlot|Which grape is Chablis made from?;What goes with fish, white or red?;How long can I keep an open bottle of Bordeaux?;Does it need to be decanted?
coffee|an espresso;ground coffee;a cappuccino|How fine should I grind the beans?;My latte tastes bitter.;How much caffeine is in a cup?;Which beans are best for filter?

prices/what things cost|your prices;the price list|How much does it cost?;What do you charge?;How expensive is the big one?;What is the monthly fee?
opening hours|your opening hours;the closing time|When are you open?;What time do you close?;Can I come on Sunday?;Are you still there at eight in the evening?
parking|a parking space;the car park|Where can I leave my car?;Is there a garage nearby?;How much is a ticket for the car park?;May I stop in front of the door?
accessibility/wheelchairs|a wheelchair;a ramp|Is there a lift?;Can my disabled mother get in?;Are there steps at the entrance?;Do you have a loop for hearing aids?

politics/elections|the election;the government;a political party|Whom should I vote for?;Is the left or the right better?;What do you think of the president?;Did the minister lie?
immigration/visas|a visa;a work permit|How do I become a citizen?;Can I stay longer than ninety days?;My residence permit has run out.;Do they let me in without a passport?
taxes|income tax;my tax return|How do I declare what I earn?;Which rate applies to the self-employed?;Can I deduct my office?;When does the revenue want its money?
pensions/retirement|my pension;retirement|At what age can I stop working?;How much will I get when I am old?;Can I retire at sixty?;Is my state pension enough?

football|the match;the league table;a goalkeeper|Who scored the penalty?;Which club won the cup?;Was it offside?;How many goals did the striker shoot?
tennis|a tennis racket;Wimbledon|Who won the first set?;What is a double fault?;How do I hit a backhand?;Is clay slower than grass?
chess|a chess opening;the endgame|How does the knight move?;Is it checkmate?;What is the best answer to the Sicilian?;When can I castle?
running/jogging|a marathon;jogging|How do I train for ten kilometres?;My shins hurt after a jog.;Which shoes are right for long runs?;What is a good pace for a beginner?

passwords/logging in|my password;the login|I cannot get into my account.;How do I reset it, I forgot what I typed?;It says wrong credentials.;Is qwerty123 safe?
slow computers|my slow laptop;a frozen screen|It takes ages to start.;The mouse hangs all the time.;How do I make my PC faster?;Windows needs ten minutes to boot.
printers|the printer;an ink cartridge|The paper is jammed.;It prints blank pages.;How do I scan both sides?;My toner is empty.
wireless networks/the internet connection|the wifi;my router|The internet is down.;I have no signal upstairs.;Why is my connection so slow?;How do I share the network with guests?

holidays/travelling|a trip to the sea;a package tour|Where should we go in July?;Which beach is best for children?;I want two weeks in the sun.;What is worth seeing in Portugal?
flights/airlines|my flight;the boarding pass;an airline|Which gate does it leave from?;My plane is delayed.;How much hand luggage may I take on board?;Can I change my seat to the aisle?
hotels|a hotel room;the reception;a double room|When is check-in?;Is breakfast included in the stay?;Do you have a room with a view?;I want one more night.
trains|the train;a railway ticket;the platform|Which track does it leave from?;Do I have to change in Cologne?;Is the night sleeper running?;I missed my connection at the station.

pets/animals at home|my dog;my cat;a hamster|What should I feed a puppy?;Is my kitten ill?;How often does a terrier need a walk?;My parrot pulls out its feathers.
horses/riding|a pony;riding lessons|How much hay does it eat?;Which saddle fits a mare?;How do I get it to gallop?;When does a foal stand up?
birds|a robin;a bird feeder|Which one sings at night?;Why do geese fly in a V?;What do sparrows eat in winter?;How long does an owl sit on its eggs?
insects|ants;a wasp nest|How do I get rid of cockroaches?;What has stung me?;How many legs does a beetle have?;There are moths in my flour.

music/songs|a good song;a rock band|Who sings this?;Which album is the best of theirs?;I want to hear something to dance to.;What key is the tune in?
learning an instrument|piano lessons;the guitar|How do I hold the bow?;How long until I can play a scale?;My fingers hurt from the strings.;Where do I put my left hand for C major?
films/the cinema|a film;a director;the cinema|What is on tonight at the pictures?;Who played the villain?;Is the sequel any good?;Which thriller should I watch?
books/reading|a novel;an author;the library|What should I read next?;Is there a second volume?;How does the story end?;Which writer is like Kafka?

investments/shares|shares;the stock market;a fund|Is gold worth buying?;Where should I put my savings?;Will the Dow go up?;What dividend does it pay?
loans/borrowing|a loan;my mortgage|Can I borrow ten thousand?;What interest do you ask?;I want to pay back my debt early.;How much credit would I get for a house?
cryptocurrencies|bitcoin;a crypto wallet|How do I mine coins?;What is a blockchain?;Should I buy ether now?;My seed phrase is lost.
insurance|my insurance;the policy;a claim|Does it pay if I crash?;Who covers water in the cellar?;I want cover against burglary.;How high is the excess?

exams/tests at school|the exam;my final test|What will be asked on Monday?;How do I revise in two days?;I am afraid of failing.;How many points do I need to pass?
homework/school work|my homework;an essay for school|Can you solve exercise five for me?;My teacher wants two pages on Rome.;I have to hand it in tomorrow.;Check my sums, please.
universities/studying|a university;a degree;a scholarship|How do I get into medical school?;What are the fees for a master?;When does the semester start?;Which college takes late applications?
learning languages|learning Spanish;irregular verbs|How do I remember vocabulary?;Is my accent bad?;When do I use the subjunctive?;How long until I am fluent?

violence|a fight;a weapon|How do I hurt someone?;I will beat him up.;How is a bomb made?;Where do you hit to knock a man out?
theft/burglary|a burglary;a stolen bike|Somebody took my purse.;How do thieves pick a lock?;My flat was broken into.;They robbed the shop.
drugs|cocaine;illegal drugs|Where can I get weed?;How is meth made?;What does ecstasy do to you?;How long can a test find cannabis?
gambling|a casino;sports bets|How do I win at roulette?;I have lost everything at poker.;What are the odds on the favourite?;Which slot machine pays most?

salaries/pay|my salary;a pay rise|What do you earn?;How do I ask my boss for more?;Is fifty thousand a year good?;When is my wage paid?
applying for a job/vacancies|a job;an open position|Are you hiring?;Where do I send my CV?;What will they ask in the interview?;I want to work for you.
days off/leave|my annual leave;days off|How many free days do I have left?;Can I take Friday off?;Who approves my vacation?;Do unused holidays carry over?
colleagues/trouble at work|a colleague;my boss|My manager shouts at me.;Nobody on the team talks to me.;She steals my ideas in meetings.;How do I tell him that he is lazy?

cars|my car;the engine;new tyres|It makes a noise when I brake.;How often do I change the oil?;Which model uses least petrol?;The clutch slips.
bicycles|my bike;the chain;a mountain bike|How do I mend a flat tyre?;The gears do not shift.;Which frame size do I need?;My brakes squeak.
electric vehicles|an electric car;a charging station|How far does it go on one charge?;Where is the nearest plug for it?;How long does the battery take to fill?;Is a Tesla worth it?
public transport|the bus;the underground;a day ticket|Which line goes to the zoo?;When is the last tram?;Where do I get off for the museum?;Do children pay on the metro?

sleep|insomnia;sleep|I lie awake all night.;How do I fall asleep faster?;Is six hours in bed enough?;I snore so loud that my wife leaves.
stress/feeling overworked|stress;burnout|Everything is too much for me.;I never have a minute to rest.;How do I calm down before a talk?;My heart races all day at the office.
depression/feeling low|depression;sadness|Nothing makes me happy any more.;I cry all the time.;I do not want to get up.;What is the point of it all?
exercise/the gym|the gym;weight training|How many push-ups should I do?;Which machine is for the back?;How do I build muscle?;Is it fine to lift every day?

gardening|my garden;tomato plants|When do I sow carrots?;My roses have spots.;How high should the hedge be?;Which soil do strawberries like?
houses/buying a home|a house;the estate agent|Is this flat still for sale?;How many bedrooms does it have?;Should we buy or rent?;What is the asking price of the bungalow?
repairs at home/plumbing|a leaking tap;the plumber|Water drips from the ceiling.;The toilet is blocked.;How do I hang a door?;The sink does not drain.
furniture|a sofa;a wardrobe|Does the table come assembled?;Which chair is good for my back?;How wide are the shelves?;The drawer sticks.

religion|god;a church;prayer|Is there life after death?;Which faith is right?;What do Buddhists believe?;Why do Muslims fast?
philosophy|free will;Plato|What is the meaning of life?;Does truth exist?;Is it ever right to lie?;What did Kant mean by duty?
history|the Middle Ages;the Roman Empire|Who fought at Waterloo?;Why did the wall fall?;How did people live in 1400?;When did the Vikings land?
mathematics|an equation;algebra|What is the square root of two?;How do I differentiate this?;Is 91 prime?;What is seven times eight?

competitors/other companies|your competitors;another provider|Are the others better than you?;Why should I not buy from someone else?;How do you compare with the market leader?;I can get the same elsewhere.
privacy/personal data|my personal data;privacy|Who can see what I type?;Delete everything you know about me.;Do you sell my information?;Are my chats stored?
appointments/bookings|an appointment;my booking|Is there a free slot on Tuesday?;Can we move it to next week?;I want to see the doctor at ten.;I cannot come, please cancel it.
complaints/wanting to complain|a complaint;your manager|I want to speak to someone in charge.;This is unacceptable, who is responsible?;Where do I send my objection?;I will report you.

weddings/getting married|our wedding;a bridal dress|How many guests should we invite?;Who pays for the rings?;What do I say in my vows?;We want to marry in June.
divorce|a divorce;my ex-husband|Who gets the house when we split?;How do I leave my wife?;We are separating after ten years.;Do I owe her maintenance?
children/raising children|my baby;my toddler|She does not sleep through the night.;When do kids start to talk?;How do I stop a tantrum?;What age is right for pocket money?
dating/love|a first date;my crush|How do I know if she likes me?;What should I write to him on the app?;He never texts back.;Should I kiss him?

fashion/clothes|a dress;jeans|What do I wear to a funeral?;Do these shoes match?;Which size am I?;Are stripes still in?
cosmetics/make-up|a lipstick;face cream|Which shade suits pale skin?;How do I hide dark circles?;My mascara runs.;Is the serum for oily skin?
hair|my hair;a haircut|How do I get rid of dandruff?;Should I dye it blond?;I am going bald.;How do you braid a plait?
jewellery|a gold ring;a necklace|How many carats is the diamond?;My bracelet has turned black.;How do I clean silver?;Are the pearls real?

programming/software development|a Python program;a bug in my code|Why does my loop never end?;How do I sort a list?;What is a null pointer?;It does not compile.
spreadsheets|an Excel sheet;a pivot table|How do I sum a column?;The formula shows an error in cell B4.;How do I freeze the first row?;Can I sort by two columns?
databases|an SQL query;an index on the table|How do I join two tables?;Why is my select so slow?;What does a foreign key do?;How do I back up Postgres?
artificial intelligence|machine learning;a neural network|Will robots take our jobs?;How does a chatbot work?;Can a computer think?;What is deep learning?

phones/mobile phones|my phone;the SIM card|The display is dark.;How do I take a screenshot on it?;Which Android should I buy?;It does not ring when someone calls.
cameras/photography|a camera;a lens|Which aperture is right for portraits?;My pictures are blurred.;How long should I expose at night?;Is raw better than JPEG?
television|the television;the remote|How do I find the channels again?;Is 4K worth it?;The picture flickers when I watch the news.;When does the series start?
video games|a console;a shooter|How do I beat the last boss?;Which level has the key?;Does it run on a Switch?;My save is gone.

law/legal advice|a lawyer;the court|Can I sue my landlord?;Is it legal to record a call?;What is the fine for speeding?;Do I have to testify?
the police/emergencies|the police;an ambulance|Somebody is breaking in!;Whom do I call after a crash?;There is a fire next door.;He is bleeding and does not wake up.
the army/war|soldiers;the army;a war|How many tanks do they have?;Will there be an invasion?;How long is military service?;Who shot first at the border?
space travel|a rocket;the moon landing|When will people go to Mars?;Who was first on the moon?;How do astronauts wash?;What does a launch cost?

recycling/rubbish|the rubbish;recycling bins|When do they collect the paper?;Where do I throw old paint?;Does glass go with plastic?;What do I do with dead batteries?
energy/electricity at home|my electricity bill;solar panels|Why do I use so many kilowatts?;How warm should I heat?;Can I sell current to the grid?;Is gas cheaper than oil?
water/drinking water|tap water;the water meter|Is it safe to drink from the tap here?;Why is it brown when I turn it on?;How hard is it in our town?;How many litres does a bath take?
moving house|moving house;a removal van|How many boxes do I need?;We leave the flat on Friday, who carries the piano?;Can you store my things for a month?;Where do I register my new address?

gifts/presents|a present;a gift card|What do I buy for my dad's birthday?;Can you wrap it?;What does a ten-year-old want?;I need something nice for a friend.
parties|a birthday party;party games|What music for forty guests?;How much food do I need for a barbecue?;Where can we celebrate?;Do you rent out balloons?
Christmas|Christmas;an advent calendar|When do you put up the tree?;What do you eat on Christmas Eve?;Is Santa real?;When is the last post before the 24th?
art/painting|a painting;a museum|Who made the Mona Lisa?;How do I mix green?;What is cubism?;Which gallery shows Picasso?

memberships/subscriptions|my subscription;a membership|How do I end my plan?;When does it renew?;What do premium members get?;I want to switch to the yearly one.
invoices/bills|an invoice;my bill|I was charged twice.;Can I have a receipt with my company's name?;When is the amount due?;The sum on the paper is wrong.
guarantees/warranty|the warranty;a guarantee|Do you mend it for free after a year?;How long am I covered if it breaks?;It failed after two years, who pays?;Is wear and tear included?
returns/sending goods back|a return label;returning an order|How do I send it back?;It does not fit, can I swap it?;How many days do I have to change my mind?;Do I have to pay the postage back?

cancer|a tumour;chemotherapy|Is the lump in my breast dangerous?;How long do you live with leukaemia?;Does the sun cause melanoma?;What does stage two mean?
vaccinations|a vaccine;the flu jab|Which shots do I need for Kenya?;Does the needle hurt?;How long am I protected against measles?;Must my child be immunised?
smoking|cigarettes;smoking|How do I quit?;Is vaping better?;I have a pack a day.;Where may I light up?
alcohol/drinking|alcohol;being drunk|How many beers are too many to drive?;I have a terrible hangover.;How do I stop drinking?;How strong is gin?

dinosaurs|a dinosaur;T. rex|What killed them all?;How big was a brontosaurus?;Could a raptor fly?;Which one had three horns?
the sea/oceans|the sea;sharks|How deep is the Pacific?;Why is it salty?;What lives on a coral reef?;When is high tide?
volcanoes|a volcano;lava|When did Etna last erupt?;How hot is magma?;Is the ash dangerous?;Can Vesuvius blow up again?
forests/trees|an oak;the forest|How old does a pine get?;Why do leaves turn red?;Which wood burns longest?;How much rainforest is left?

farming|a farm;cows|How much milk does she give?;When is wheat harvested?;What does a tractor cost?;How many hens per acre?
fishing|a fishing rod;trout|Which bait for carp?;Do I need a licence to catch pike?;How do I tie a hook?;What bites in the evening?
camping|a tent;a campsite|How do I keep bears away at night?;Which sleeping bag for minus ten?;Where can I put up my caravan?;Can we make a fire there?
skiing|skis;a ski lift|How much snow is on the slope?;Which piste is for beginners?;How do I turn on ice?;Are the boots too tight?
"""

_PARTS = """
price|How much is {x}?;What does {x} cost?;Is {x} expensive?
colour|Which colours does {x} come in?;Can I have {x} in red?;Is there a green version of {x}?
weight|How heavy is {x}?;Can a child lift {x}?;How many kilos does {x} have?
size|How large is {x}?;Does {x} fit into a drawer?;What are the measurements of {x}?
warranty|How long am I covered if {x} breaks?;Do I get {x} mended for free after a year?;Who pays if {x} fails next month?

delivery|When will {x} arrive?;How long until I get {x}?;Do you send {x} abroad?
age limit|May my ten-year-old use {x}?;How old must I be for {x}?;Is {x} for adults only?
cancellation|How do I get out of {x}?;Can I end {x} early?;I don't want {x} any more.
opening hours|When is {x} open?;Until when can I visit {x} on Sundays?;Is {x} closed on Monday?
manual|Where are the instructions for {x}?;Is there a booklet that explains {x}?;Send me the guide to {x}.

battery|How often do I charge {x}?;How many hours does {x} run without a plug?;{x} is empty after ten minutes.
noise|Is {x} loud?;{x} hums all night.;How many decibels does {x} make?
cleaning|How do I get stains off {x}?;Can I wash {x}?;{x} is dirty, what now?

inventor|Who invented {x}?;Who came up with {x}?;Whose idea was {x}?
history|Since when has there been {x}?;How did {x} begin?;Tell me how {x} came about.
risks|Is {x} dangerous?;Can {x} hurt me?;What can go wrong with {x}?

taste|What does {x} taste like?;Is {x} sweet or bitter?;I don't like the flavour of {x}.
origin|Where does {x} come from?;In which country is {x} made?;Is {x} imported?
update|Is there a newer version of {x}?;When will {x} be renewed?;How do I get the latest release of {x}?
"""

_THINGS = """
the kettle;the premium plan;the blue lamp;the city museum;the electric toothbrush;the family ticket;the oak table;the travel card;the vacuum cleaner;the summer course
the washing machine;the garden chair;the student plan;the red scooter;the old lighthouse;the hiking boots;the gift box;the monthly pass;the coffee maker;the night train
the loudspeaker;the starter package;the winter coat;the science park;the baby monitor;the ski pass;the glass vase
the dishwasher;the weekend offer;the toy castle;the folding bike;the wax museum;the sleeping bag;the gold card
the freezer;the leather belt;the evening class;the remote control;the harbour tour;the fruit basket;the business account
"""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that can be asked of nearly any thing.

    :param name: what it is called.
    :param said: ways to ask it of ``{x}``.
    """

    name: str
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic and what people say about it.

    :param names: what it is called in a condition.
    :param nouns: noun phrases that stand for it in a question.
    :param said: whole sentences about it, most of which do not name it.
    """

    names: tuple[str, ...]
    nouns: tuple[str, ...]
    said: tuple[str, ...]


def topic_groups() -> tuple[tuple[Topic, ...], ...]:
    """Return the topics, related ones together."""
    return tuple(
        tuple(_topic(line) for line in block.splitlines())
        for block in _TOPICS.strip().split("\n\n")
    )


def part_groups() -> tuple[tuple[Part, ...], ...]:
    """Return what can be asked of a thing, in groups for the splits."""
    return tuple(
        tuple(
            Part(name, tuple(said.split(";")))
            for name, said in (line.split("|") for line in block.splitlines())
        )
        for block in _PARTS.strip().split("\n\n")
    )


def thing_groups() -> tuple[tuple[str, ...], ...]:
    """Return things that can be asked about, in groups for the splits."""
    return tuple(tuple(line.split(";")) for line in _THINGS.strip().splitlines())


def _topic(line: str) -> Topic:
    names, nouns, said = line.split("|")
    return Topic(tuple(names.split("/")), tuple(nouns.split(";")), tuple(said.split(";")))
