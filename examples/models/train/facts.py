"""Short templated facts about invented names, each with a question.

A letter in braces is a slot: P and Q stand for persons, C and D for places, O for an organisation, a prize
or a title, Y and Z for years, N for a number, T for a thing, M for a material or a subject.
"""
from .substitution import invented_name

# (the fact, [(question, the answer: a slot or a text with slots)])
TEMPLATES = [
    ("{P} was born in {C} in {Y}.",
     [("Where was {P} born?", "{C}"), ("When was {P} born?", "{Y}"), ("Who was born in {C}?", "{P}"),
      ("In what year was {P} born?", "{Y}"), ("What city was {P} born in?", "{C}")]),
    ("{P} founded {O} in {Y}.",
     [("Who founded {O}?", "{P}"), ("When was {O} founded?", "{Y}"), ("What did {P} found?", "{O}"),
      ("In what year did {P} found {O}?", "{Y}"), ("What was founded by {P}?", "{O}")]),
    ("The {T} was designed by {P} and completed in {Y}.",
     [("Who designed the {T}?", "{P}"), ("When was the {T} completed?", "{Y}"),
      ("What did {P} design?", "{T}"), ("By whom was the {T} designed?", "{P}")]),
    ("{P} moved from {C} to {D} in {Y}.",
     [("Where did {P} move to?", "{D}"), ("Where did {P} move from?", "{C}"),
      ("When did {P} move to {D}?", "{Y}"), ("Who moved to {D}?", "{P}")]),
    ("{C} has a population of {N} people.",
     [("How many people live in {C}?", "{N}"), ("What is the population of {C}?", "{N}"),
      ("What city has {N} people?", "{C}")]),
    ("{P} is the president of {O}.",
     [("Who is the president of {O}?", "{P}"), ("What is {P} president of?", "{O}"),
      ("Which organization does {P} lead?", "{O}")]),
    ("The {T} was sold to {P} for {N} dollars.",
     [("Who bought the {T}?", "{P}"), ("How much was the {T} sold for?", "{N}"),
      ("What was sold to {P}?", "{T}"), ("How many dollars did {P} pay?", "{N}")]),
    ("{O} is based in {C} and employs {N} people.",
     [("Where is {O} based?", "{C}"), ("How many people does {O} employ?", "{N}"),
      ("What is based in {C}?", "{O}")]),
    ("In {Y}, {P} won the {O} prize.",
     [("Who won the {O} prize?", "{P}"), ("When did {P} win the {O} prize?", "{Y}"),
      ("What prize did {P} win?", "{O}")]),
    ("{P} married {Q} in {C}.",
     [("Who did {P} marry?", "{Q}"), ("Where did {P} marry {Q}?", "{C}"), ("Who married {Q}?", "{P}")]),
    ("The capital of {D} is {C}.",
     [("What is the capital of {D}?", "{C}"), ("{C} is the capital of what country?", "{D}")]),
    ("{P} wrote the book {O}, which was published in {Y}.",
     [("Who wrote {O}?", "{P}"), ("What did {P} write?", "{O}"), ("When was {O} published?", "{Y}"),
      ("Who is the author of {O}?", "{P}")]),
    ("The river {C} flows through {D} and is {N} miles long.",
     [("How long is the {C}?", "{N} miles"), ("Where does the {C} flow?", "{D}"),
      ("Which river flows through {D}?", "{C}")]),
    ("The {T} of {C} is made of {M}.",
     [("What is the {T} of {C} made of?", "{M}"), ("What is made of {M}?", "{T} of {C}")]),
    ("{P} studied {M} at {O}.",
     [("What did {P} study?", "{M}"), ("Where did {P} study?", "{O}"), ("Who studied {M}?", "{P}"),
      ("At what school did {P} study {M}?", "{O}")]),
    ("The war between {C} and {D} began in {Y} and ended in {Z}.",
     [("When did the war between {C} and {D} begin?", "{Y}"), ("When did the war end?", "{Z}"),
      ("Who fought {D} in the war?", "{C}")]),
    ("About {N} students attend {O} in {C}.",
     [("How many students attend {O}?", "{N}"), ("Where is {O}?", "{C}"),
      ("What school has {N} students?", "{O}")]),
    ("{P} discovered {M} while working for {O}.",
     [("What did {P} discover?", "{M}"), ("Who discovered {M}?", "{P}"), ("Who did {P} work for?", "{O}")]),
]
THINGS = """bridge tower church library palace museum stadium theatre harbour castle school garden station
temple statue ship clock wall gate hall""".split()
MATERIALS = """iron copper gold silver glass stone marble wood clay physics chemistry law music history
medicine biology painting philosophy cotton salt oxygen helium sugar paper rubber steel""".split()


def _fill(known_names, rng):
    """A random value for every slot."""
    def name():
        return invented_name(rng) if rng.random() < 0.5 else rng.choice(known_names)

    def full_name(chance):
        return name() + (" " + name() if rng.random() < chance else "")

    def year():
        return str(rng.randint(1100, 2019))

    return {"P": full_name(0.6), "Q": name() + " " + name(), "C": name(), "D": name(), "O": full_name(0.4),
            "Y": year(), "Z": year(),
            "N": rng.choice([str(rng.randint(2, 999)), f"{rng.randint(1, 999)},{rng.randint(0, 999):03d}",
                             f"{rng.randint(1, 99)} million"]),
            "T": rng.choice(THINGS), "M": rng.choice(MATERIALS)}


def facts(rng, known_names, n):
    """n random facts: (their text, [(question, answer)])."""
    texts, questions = [], []
    for _ in range(n):
        fact, asked = rng.choice(TEMPLATES)
        values = _fill(known_names, rng)
        question, answer = rng.choice(asked)
        texts.append(fact.format(**values))
        questions.append((question.format(**values), answer.format(**values)))
    return " ".join(texts), questions
