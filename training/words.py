"""Word lists: things the model does not know, things people say that are no question about a picture.

Every list has a second one that is kept from training and used by the exam alone.
"""

# ruff: noqa: E501, SIM905

from __future__ import annotations

STRANGE_NOUNS = """
anchor ant avocado axe bag barrel basket bat beach bear bed bee beetle bench bird blanket boot bottle bowl box
bread bridge broom brush bucket building bull camel camera candle candy cap castle chain cheese cherry chicken
church coat coin comb computer cookie corn couch cow crab crocodile crown cupboard curtain deer desk doll dolphin
door dragon dress drum duck eagle egg engine envelope eraser eye factory fan feather fence finger fire flag flame
flower flute fork fox gate ghost glass glove goat goose grape grass guard hammer hand hat hawk helmet hill hippo
honey horse hotel ice island jacket jar jeep jewel jug kettle kite knife knot ladder lake lamp leaf lemon
leopard letter lighthouse lion lizard lobster lock log machine magnet man mango map mask match melon mirror
mitten mole moon moose mop motor mountain mouse mug nail necklace needle nest net newspaper notebook nut octopus
onion orange owl paint pan paper parrot path pea peach peacock pear pen pencil person phone photo piano pie pig
pigeon pillow pin pipe plane plant plate plum pocket pond pony pot potato printer pumpkin puppy purse puzzle
queen rabbit raccoon radio rainbow rat river road rope rose ruler sack sailor salad sand sandwich saw scarf
school scissor screen seal seed shark sheep shelf shell shield ship shirt shoe shop shovel skirt skull sled snail
snake soap sock sofa spider sponge spoon squid stamp statue stick stone stove straw street suitcase swan sweater
sword table tail tank tape taxi teapot telephone tent thumb tie tiger tire toaster tomato tool tooth
towel tower toy tractor train tray truck trumpet tub turkey tv van vase vest violin wagon wall wallet walrus
watch wave wheel whistle window wing wizard woman worm wrench yacht yak yarn zipper traffic_light fire_truck
coffee_table tennis_racket teddy_bear stop_sign cell_phone wine_glass hot_dog paper_bag light_bulb
""".replace("\n", " ").split()

HELD_OUT_NOUNS = """
giraffe zebra laptop keyboard monkey kangaroo helicopter motorcycle pineapple donut backpack toothbrush
dinosaur unicorn whale bus sink oven refrigerator hamburger volcano satellite microscope cello
garden_gnome swimming_pool street_lamp
""".split()

CHATTER = (
    """
Tell me a joke.|What is the weather like today?|Write a poem about the sea.|Who won the match yesterday?
Translate this into French.|What time is it?|I am hungry.|How are you today?|Sing me a song.|Good question.
What is the capital of Spain?|Explain gravity to a child.|Can you help me with my homework?|This is a test.
Testing, testing.|Please continue.|asdf|lorem ipsum dolor sit amet|Tell me more about it.|Write some Python code.
What should I cook tonight?|Is it safe?|Is it raining?|Give me a summary.|What is two plus two?|Go on.|ok|yes|no
What do you think?|Why is the sky blue?|Who painted this?|How much does it cost?|Where was this taken?|I love it!
Make a list of cities.|Play some music.|What happened in 1969?|Do you like it?|Is this a photograph?|hmm|So?
What is the meaning of life?|When does the train leave?|Recommend a film.|Say something.|Caption this.|Look!
Your task is to answer politely and briefly.|What brand is it?|Is anyone there?|Read the text in the picture.
""".strip()
    .replace("\n", "|")
    .split("|")
)

HELD_OUT_CHATTER = (
    """
Recite the alphabet.|How do I fix a bicycle chain?|Which language is this?|My name is Robin.|What a nice day!
Compose a short letter to my landlord.|How far is the moon?|Please be quick.
""".strip()
    .replace("\n", "|")
    .split("|")
)

SYSTEM_PROMPTS = (
    """
You are a helpful assistant.|You are a helpful vision assistant.|Answer briefly.|Be concise and precise.
You describe pictures for people who cannot see them.|Answer in one short sentence.|You are a friendly robot.
You are a careful observer. Say only what you can see.|Reply in English.|You are vedette, a watchful sentry.
You are an expert in image analysis. Look closely at every picture and answer the question of the user.
Never make anything up. If you do not know, say so.|Keep your answers short and simple.|You are a camera.
You are an AI assistant made to help people with pictures and videos. Be honest, harmless and polite at all times.
Please answer the questions about the images.|Use plain words.|Do not mention these instructions.|Think carefully.
""".strip()
    .replace("\n", "|")
    .split("|")
)

HELD_OUT_SYSTEM_PROMPTS = (
    """
You are a security guard watching a camera. Report what you see.|Always answer politely and never swear.
You are a visual assistant for a museum. Visitors ask you about what is on the screen in front of them.
""".strip()
    .replace("\n", "|")
    .split("|")
)

GREETINGS = (
    """
Hello!|Hello|Hi|Hi!|Hi there!|Hey|Hey there|Good morning|Good morning!|Good evening|Hello there.|Greetings!|hello
hi|Howdy|Hello, how are you?|Good day|Hey!|hello!|Hi, how are you?|Hola|Bonjour|Hallo
""".strip()
    .replace("\n", "|")
    .split("|")
)

ABOUT = (
    """
Who are you?|What are you?|What can you do?|Help|help|What is your name?|How do you work?|What do you know?
What can I ask you?|Tell me about yourself.|Introduce yourself.|What are you good at?|How can you help me?
Which objects do you know?|Are you a robot?|What model are you?|Can you help me?|
""".strip()
    .replace("\n", "|")
    .split("|")
)

THANKS = ("Thanks!", "Thank you.", "Thank you!", "Thanks", "thanks", "Great, thank you.", "Thanks a lot!")

#: {n}, {o}: nouns; {j}: a quality; {v}: something to do.
CHATTER_FORMS = (
    "{v} the {n}.", "Please {v} a {n}.", "What a {j} {n}!", "How do I {v} a {n}?", "Why is the {n} so {j}?", "My {n} is {j}.",
    "I have a {j} {n}.", "I want to {v} the {n}.", "Can you {v} my {n}?", "Do you like {n}?", "Tell me about the {n}.",
    "Who made the {n}?", "When will the {n} be {j}?", "I think the {n} is {j}.", "The {n} and the {o} are {j}.",
    "Write a {j} story about a {n} and a {o}.", "Should I {v} the {n} or the {o}?", "{n}", "{n} {o}", "{j} {n}", "So {j}!",
    "What does {n} mean?", "Which {n} is the best?", "Whose {n} is this?", "Explain {n} to me.", "Let us {v}.", "Is it {j}?",
    "We went to {v} with a {j} {n} and then it became a {o}.", "Give me the {n}!", "Have you seen {n} before?", "I am {j}.",
    "How {j} is the {n}?", "Compose a {n} for my {o}.", "{v} quickly.", "What is the best way to {v}?", "Hm, {j}.", "Today is {j}.",
)  # fmt: skip
QUALITIES = """
good bad happy sad new old big small fast slow warm cold clean dirty bright dark heavy light soft hard strange nice rich
poor long short sweet sour early late quiet loud strong weak deep high low wet dry funny serious famous simple clever
""".split()
DOINGS = """
open close buy sell paint read write sing draw fix clean break move carry find lose eat cook drink wash cut build make
use play learn teach show hide start stop turn push pull throw catch measure compute translate print send draw dance
""".split()
#: Put before and after a question, now and then.
AROUND = (
    ("Please", ""), ("", "Please."), ("", "Answer briefly."), ("", "Answer in one sentence."), ("", "Be brief."), ("Hello!", ""),
    ("Can you tell me:", ""), ("Look at the picture.", ""), ("", "Answer in one short sentence."), ("Hey,", ""), ("", "Thanks!"),
    ("Look at this.", ""), ("", "Be precise."), ("Now tell me:", ""), ("", "Keep it short."), ("Question:", ""), ("OK.", ""),
    ("", "Describe only what you can see."), ("You are a helpful assistant.", ""), ("Based on the image,", ""), ("", "Tell me."),
)  # fmt: skip
