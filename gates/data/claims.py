# ruff: noqa: E501  one claim a line reads better than one wrapped over three
"""Claims that are no trait of a thing: what somebody wants, feels, is, or says has happened.

In groups of related ones, which stand on one side of the split as a whole and are each other's hard
negatives.
"""

from __future__ import annotations

from dataclasses import dataclass

_CLAIMS = """
the user is angry/the customer is furious|This is outrageous!;I am furious with you.;I have had enough of this.;What a disgrace, you idiots.;I am boiling with rage.
the user is happy/the customer is delighted|Thank you so much, this is wonderful.;You made my day.;I could not be more pleased.;I am over the moon!;What a joy, I love it.
the user is sad|I cannot stop crying.;My heart is broken.;I feel so down today.;Everything is grey since she left.
the user is afraid|I am scared to death.;My hands are shaking with fear.;I dread what will happen tomorrow.;I am terrified of going there.

the customer wants to cancel/the user wants to end a contract|Please end my contract.;I want to stop my subscription.;Cancel my order.;I no longer need your services, let me out.
the customer wants to buy/the user wants to order something|I would like to order two of these.;Put it in my basket, please.;Send me one, I will pay by card.;I'll take the blue one.
the customer wants to exchange something/the customer wants another size|Can I swap it for the red one?;I need it one size larger.;Please take it back and give me the other model.;This one does not fit, I want a different one.
the customer wants to speak to a person/the user wants a human|Get me a real human.;I don't want to talk to a bot.;Connect me with somebody on your team.;Is there a living person I can speak with?

the user is in danger/somebody needs help at once|Somebody is trying to break in!;I am bleeding heavily.;There is a fire in my kitchen.;He is pointing a gun at me.;I am trapped in the lift and cannot breathe.
the user is ill/somebody is sick|I have a fever and a cough.;I have been throwing up all night.;My throat hurts and I am in bed.;The doctor says it is pneumonia.
the user is tired|I can hardly keep my eyes open.;I have not slept for two days.;I am exhausted.;I need a nap.
the user is hungry|I have not eaten since yesterday.;My stomach is rumbling.;I could eat a horse.;Is there anything to eat? I am starving.

the user is a beginner/the user is new to this|I have never done this before.;This is my first time.;I don't know the basics yet.;I only started last week.
the user is an expert/the user has much experience|I have done this for twenty years.;I teach this at university.;I wrote the standard book on it.;It is my daily work as a senior engineer.
the user is in a hurry/the user has no time|I need it right now.;Quick, my train leaves in five minutes.;There is no time, be brief.;It has to be done by noon at the latest.
the user is patient/the user has time|Take your time, there is no rush.;It can wait until next month.;No hurry at all.;Whenever you get round to it.

the user is a child/the user is under age|I am nine years old.;I am in third grade.;My mum says I may use her tablet.;I am only fourteen.
the user is a student|I study biology in my second year.;My professor gave us this.;I live in a dorm and have lectures all day.;I am at college.
the user is retired/the user is old|I stopped working ten years ago.;I turned eighty last week.;As a pensioner I have time.;My grandchildren set up the computer for me.
the user has children/the user is a parent|My daughter starts school in autumn.;We have two boys at home.;I am a father of three.;My toddler is asleep.

the user lives abroad/the customer lives in another country|I live in Canada, can you ship there?;I moved to Spain last year.;I am writing from overseas.;My address is not in this country.
the user is moving house/the user has a new address|We move to a new flat on Friday.;My address changes next month.;I no longer live in Elm Street.;Please send it to our new home.
the user is on holiday/the user is travelling|I am at the beach until Sunday.;We are on a trip through Italy.;I am away on vacation and have no laptop.;I write from a hotel in Crete.
the user works from home|My office is my kitchen table.;I only have video meetings these days.;I have not been to the office for a year.;I work remotely.

the parcel is lost/the order never arrived|Nothing has come, and it was sent a month ago.;The tracking says delivered, but there is nothing here.;My package has vanished.;I never received my order.
the parcel was late/the order came too late|It came a week too late.;It took ages to arrive.;My order was delayed for ten days.;It was promised for Monday and came on Friday.
the wrong thing was delivered/the order is wrong|I ordered black and got white.;This is not what I bought.;You sent me somebody else's parcel.;Instead of a lamp there was a kettle in the box.
something is missing from the order|There were only three of the four cups in it.;The screws were not in the box.;The cable is not there.;One of the books I ordered is not in the parcel.

the product broke/the device stopped working|It stopped working after two days.;The handle came off.;It fell apart.;It does not turn on any more.;The zip tore on the first day.
the device gets too hot/the product overheats|You could fry an egg on it.;I burnt my fingers on the case.;It switches itself off because of the heat.;The fan runs at full speed and it is still boiling.
the device makes a noise|It hums all the time.;There is a rattling inside.;It squeaks when I turn it.;It beeps every minute.
the device smells|There is a stench of burnt plastic from it.;It reeks of chemicals.;It stinks when it runs.;My kitchen smells of rubber since I plugged it in.

the customer paid twice/the customer was charged too much|You took the money two times.;I see the same payment twice on my statement.;I was billed for two and bought one.;The amount on my card is higher than agreed.
the payment failed/the customer cannot pay|My card was declined.;It says insufficient funds.;The payment page shows an error.;The transfer did not go through.
the customer asks for a discount/the customer finds it too expensive|Can you do it for less?;Is there any way to lower the price?;I would buy it if it were cheaper.;Give me ten per cent off.
the customer wants an invoice/the customer needs a receipt|Please send me the bill as PDF.;I need a receipt for my employer.;Could I have that in writing with VAT?;My accountant wants the paper for it.

the writer agrees/the user thinks that it is right|Exactly my opinion.;You are absolutely right.;I see it the same way.;I could not have said it better.
the writer disagrees/the user thinks that it is wrong|I don't think so at all.;That is nonsense.;You are mistaken there.;I take the opposite view.
the writer is not sure/the user has doubts|I might be mistaken.;Perhaps, but I don't know.;I cannot make up my mind.;Maybe yes, maybe no.
the writer changed their mind/the user takes it back|I said yes, but now I'd rather not.;Forget what I wrote before.;On second thoughts, leave it.;I used to believe it, no longer.

the user thanks somebody/the text is a thank-you|Many thanks for your help!;I am so grateful.;Cheers, that was kind of you.;I owe you one.
the user apologises/the text is an apology|I am so sorry about yesterday.;Please forgive me.;It was my fault, my apologies.;I beg your pardon.
the user says goodbye|See you tomorrow!;Bye for now.;Have a nice evening, I am off.;Take care, until next time.
the user greets somebody|Good morning, everyone.;Hi there!;Hello, nice to meet you.;Dear all, welcome.

the user insults somebody/the text is insulting|You stupid cow.;He is a complete moron.;What an ugly loser you are.;Shut up, you pig.
the user threatens somebody/the text is a threat|I know where you live.;You will regret this.;Pay, or something will happen to your dog.;Next time I bring my brothers and a bat.
the user praises somebody/the text is praise|You did a brilliant job.;What a genius.;She deserves a medal for that.;Nobody does it better than you.
the user makes a joke|Why did the chicken cross the road?;I told my wife she drew her eyebrows too high, and she looked surprised.;Knock, knock.;My cat has its own startup: it sleeps and burns money.

the review recommends it/the reviewer would come again|You should definitely go.;We will be back next year.;A must for everyone.;Buy it, you won't regret it.
the review advises against it/the reviewer would not come again|Stay away from this place.;Never again.;Save your money.;I would not send my worst enemy there.
the review compares it with another one|It is better than the old model.;Compared with its rival it falls behind.;I liked their first one more.;Unlike the one from next door, it works.
the review is by somebody who has not tried it|I have not been there yet, but it looks nice.;I only read about it.;Mine comes next week, five stars in advance.;I have never eaten there myself.

the team won/the match was won|We beat them three to nil.;The cup is ours!;They took all the points.;A goal in the last minute gave us the victory.
the team lost/the match was lost|We were beaten again.;They let in five goals.;It was a bitter defeat.;Our boys are out of the cup.
the match was cancelled/the game did not take place|They called it off because of the rain.;It has been put off until spring.;There was no kick-off, the pitch was frozen.;The referee sent everyone home before it began.
a player was hurt/somebody was injured in the match|He was carried off with a broken leg.;Our striker tore a muscle.;She hit her head and could not go on.;The goalkeeper twisted his knee.

it is raining/the weather is wet|It is pouring.;I am soaked to the skin.;Take an umbrella.;The streets are flooded.
it is hot/the weather is warm|Thirty-five degrees in the shade.;Everybody is sweating.;It is a scorcher today.;The asphalt is melting.
it is cold/there is frost|The lake is frozen.;Minus ten this morning.;My fingers are numb from the ice.;Scrape your windscreen before you go.
there is a storm/it is windy|Trees have been blown down.;The roof flew off in the gusts.;A hurricane is coming.;The ferry cannot sail in this gale.

the company makes a profit/business is good|Earnings rose by a tenth.;We are in the black again.;Sales have never been better.;The shareholders get a bonus.
the company makes a loss/business is bad|We are in the red.;Sales have collapsed.;They lost ten million last year.;There is hardly an order left.
the company hires people/there are new jobs|They are taking on fifty staff.;Two hundred new posts in the plant.;We grow and look for people.;The firm doubles its workforce.
the company lays people off/jobs are cut|Three hundred will be sacked.;The plant sends half of its workers home for good.;Mass redundancies are announced.;They got rid of the whole department.

the meeting is moved/the appointment is later|Let us do it on Thursday instead.;It starts at three and not at two.;We have to put it off by a week.;New date: the fifth.
the meeting is cancelled/the appointment is off|We won't meet today.;It does not take place.;I called the whole thing off.;No session this week.
the sender is out of office/the sender is away|I am back on Monday.;I cannot read mail this week.;In urgent cases, write to my deputy.;I am on leave until the tenth.
the sender asks for a reply/the text asks for an answer|Please let me know by tomorrow.;I look forward to hearing from you.;Could you get back to me?;RSVP.

the person has a new job/somebody was promoted|She starts at the bank in May.;He is head of sales now.;I have signed the contract with my new employer.;They made her director.
the person was dismissed/somebody lost their job|He was fired on Friday.;They let me go.;She got her notice.;I have been unemployed since March.
the person married/there was a wedding|They tied the knot.;She said yes at the altar.;We are husband and wife now.;The bride wore white.
the person died/there was a death|He passed away last night.;We buried her on Monday.;She is no longer with us.;The funeral is on Friday.

the text is an advertisement/the text wants to sell something|Buy now and save 50%!;Only today: three for the price of two.;Order your free sample.;The best mattress of your life, call now.
the text is an invitation|Come to our party on Saturday.;You are cordially invited.;Join us for dinner at eight.;We would love to have you with us.
the text is a warning|Do not touch, high voltage!;Beware of the dog.;Careful, the floor is slippery.;Never open this while it runs.
the text is an order/the text tells somebody to do something|Close the door.;Bring me the file at once.;Stand up straight.;Clean your room.
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim and how it is made.

    :param names: how a condition puts it.
    :param said: whole texts of which it holds.
    """

    names: tuple[str, ...]
    said: tuple[str, ...]


def claim_groups() -> tuple[tuple[Claim, ...], ...]:
    """Return the claims, related ones together."""
    return tuple(
        tuple(_claim(line) for line in block.splitlines())
        for block in _CLAIMS.strip().split("\n\n")
    )


def _claim(line: str) -> Claim:
    names, said = line.split("|")
    return Claim(tuple(names.split("/")), tuple(text.strip() for text in said.split(";")))
