"""Made-up prompts that show the distillation which directions requests to language models vary in.

Every sentence here was written for this file. A small grammar (task frames x subjects x their terms) is unrolled in a
fixed order, so the corpus is the same wherever it is made. It decides only the axes onto which the token table is cut
down; no token's vector is learned from it.
"""

from __future__ import annotations

from itertools import cycle, islice
from typing import Final

SUBJECTS: Final = {
    "algebra": "polynomial, group homomorphism, matrix rank, quadratic equation, ring, field extension",
    "calculus": "derivative, definite integral, Taylor series, limit, differential equation, gradient",
    "geometry": "triangle, circle radius, perimeter, volume of a cone, angle bisector, coordinates",
    "number theory": "prime factor, remainder, divisor, modular inverse, integer solution",
    "probability": "dice roll, conditional probability, expected value, binomial distribution",
    "statistics": "standard deviation, regression slope, p-value, sample mean, confidence interval",
    "shop arithmetic": "discount, apples sold per day, price of each box, total cost, hourly wage",
    "travel arithmetic": "miles per hour, train departure, gallons of fuel, distance walked, minutes per lap",
    "sharing arithmetic": "twice as many marbles, half of the cookies, pages left to read, students in class",
    "logic": "syllogism, premise, contrapositive, truth table, valid inference, quantifier, contradiction",
    "puzzles": "five houses in a row, who owns the cat, the person who drinks tea, left of the red house",
    "python": "list comprehension, dictionary, generator, class method, decorator, recursion, string slicing",
    "algorithms": "binary search, dynamic programming, shortest path, sorting array, hash table",
    "web code": "javascript promise, html form, css layout, react component, http request, json response",
    "systems code": "pointer in c, memory leak, mutex, rust borrow checker, linked list, compiler error",
    "databases": "sql join, index scan, primary key, transaction isolation, group by query, normal form",
    "shell": "bash script, grep pattern, file permission, docker container, git branch, environment variable",
    "computer security": "buffer overflow, public key, phishing mail, firewall rule, password hash",
    "computer networks": "tcp handshake, subnet mask, router, packet loss, dns lookup, bandwidth, wireless",
    "machine learning": "neural network, overfitting, gradient descent, decision tree, kernel, training loss",
    "computer hardware": "cache line, pipeline stall, virtual memory, register, instruction set",
    "mechanics": "force on a block, velocity, momentum, friction, pendulum, projectile, acceleration, torque",
    "electricity": "resistor, capacitor, current, magnetic field, voltage drop, circuit, electric charge",
    "modern physics": "photon, wavelength, quantum state, special relativity, nuclear decay, electron spin",
    "thermodynamics": "ideal gas, entropy, heat engine, pressure, specific heat, temperature",
    "astronomy": "planet orbit, star mass, galaxy, telescope, solar system, moon, redshift, asteroid",
    "general chemistry": "molar mass, oxidation state, acid solution, equilibrium constant, precipitate",
    "organic chemistry": "alkene, ester, nucleophile, benzene ring, chirality, reaction mechanism",
    "engineering": "beam stress, control loop, transfer function, fluid flow, heat exchanger",
    "cell biology": "mitochondria, protein synthesis, dna replication, enzyme, membrane, cell division",
    "ecology": "natural selection, food chain, population, habitat, photosynthesis, species, climate",
    "anatomy": "heart valve, kidney, muscle, cranial nerve, spinal cord, bone, artery, lung",
    "medicine": "patient with fever, diagnosis, blood pressure, drug dose, infection, symptom, side effect",
    "nutrition": "vitamin, protein intake, dietary fibre, calories, cholesterol, digestion, obesity, iron",
    "psychology": "memory, classical conditioning, anxiety, personality, perception, child development",
    "sociology": "social class, gender role, inequality, family, community, culture, migration, deviance",
    "philosophy": "utilitarianism, moral duty, free will, knowledge, virtue, argument, existence",
    "religion": "scripture, prayer, temple, prophet, monk, ritual, church, belief",
    "law": "contract breach, negligence, defendant, search warrant, property deed, jurisdiction, plaintiff",
    "international law": "treaty, human rights, state sovereignty, refugee, tribunal, customary rule",
    "politics": "election, parliament, foreign policy, voter turnout, constitution, president, legislation",
    "ancient history": "empire, emperor, trade route, archaeological site, pottery, dynasty, tomb, farming",
    "modern history": "revolution, world war, colony, industrialisation, treaty, slavery, nationalism",
    "geography": "capital city, river, mountain range, border, continent, desert, island, population density",
    "economics": "inflation, demand curve, interest rate, monopoly, exchange rate, unemployment, tax",
    "accounting": "balance sheet, depreciation, audit, cash flow, bond yield, revenue, inventory, dividend",
    "business": "marketing plan, supply chain, customer, employee motivation, merger, advertising, ethics",
    "literature": "poem, novel, narrator, metaphor, character, tragedy, author, chapter",
    "music and film": "melody, guitar chord, film director, actor, album, song lyrics, band, orchestra",
    "sport": "football team, olympic medal, tennis match, coach, basketball player, world record, season",
    "language": "verb tense, synonym, grammar mistake, spanish translation, french sentence, pronunciation",
    "mail": "cover letter, apology to a customer, meeting invitation, thank-you note, complaint",
    "cooking": "recipe, chicken soup, oven temperature, vegetarian dinner, sauce, dough, spices",
    "daily life": "holiday plan, birthday gift, house cleaning, dog training, garden plants, gym exercise",
    "common sense": "opening a jar, a wet floor, waiting for the bus, putting on shoes, lighting a candle",
    "news": "company announced, minister said, police report, stock market fell, scientists found",
    "facts": "myth about health, superstition, popular misconception, world record, origin of a saying",
    "safety": "dangerous chemical, weapon, illegal drug, insult, private data, self-harm, stolen credit card",
    "fiction": "dragon, detective, spaceship crew, old lighthouse, haunted castle, talking animal",
}

FRAMES: Final = (
    "What is {a}?",
    "Explain {a} and {b} to a beginner.",
    "Which of the following statements about {a} is correct?\nA. {b}\nB. {c}\nC. {d}\nD. none of these\nAnswer:",
    "In {s}, what is the relation between {a} and {b}?\nA. {c}\nB. {d}\nC. both\nD. neither",
    "Answer with one letter. Question: {a} is best described as (A) {b} (B) {c} (C) {d} (D) all of the above.",
    "Write a function that takes {a} and returns {b}. Include tests such as assert f(3) == 7.",
    "Fix this code: def solve(x): return x[0] + {n} # should handle {a} and {b}",
    "Tom has {n} {a}. He gives {m} of them away and buys {k} more. How many does he have now? Show your work.",
    "Find the value of x if {n}x + {m} = {k}, given the {a}. Think step by step and give the final answer.",
    "Let f(x) = x^{k} - {n}. Determine the {a} and prove that the {b} is unique.",
    "Read the passage. The text speaks of {a}, {b} and {c}. According to the passage, what happened to {d}?",
    "Summarize the following article in three sentences: the {a} and the {b}, with the {c} and the {d}.",
    "Write a short story in which {a} meets {b}.",
    "Write a persuasive essay about {a}, with {b} as an example. Use a friendly tone.",
    "Translate into German: the {a} is near the {b}.",
    "Compare {a} with {b} in a table, with pros and cons of each.",
    "Give me ten ideas for {a}.",
    "Is it true that {a} causes {b}? Give your sources.",
    "True or False: not (({n} > {m}) and ({k} < {n})) or the {a} is the {b}.",
    "Sort these words alphabetically: {a}, {b}, {c}, {d}.",
    "Complete the sentence with the most sensible ending. Someone sees {a}. Then they",
    "Extract all names and dates from this text and return JSON with the keys {a} and {b}.",
    "You are an expert in {s}. Advise me about {a}; I already tried {b}.",
    "How do I {v} the {a} when the {b} does not work?",
    "Classify the sentiment of this review as positive or negative: the {a} was good but the {b} disappointed me.",
    "Who was the first to {v} {a}, in which year, and why does it matter for {b}?",
)

_VERBS: Final = ("build", "measure", "describe", "repair", "calculate", "discover", "improve", "draw", "choose", "stop")
_NUMBERS: Final = (2, 5, 12, 37, 3, 140, 8, 64, 19, 1000, 7, 25)


def prompts() -> list[str]:
    """Return the corpus: every subject in every frame, with terms, verbs and numbers taken in turn."""
    verbs, numbers = cycle(_VERBS), cycle(_NUMBERS)
    made = []
    for subject, listed in SUBJECTS.items():
        terms = cycle(listed.split(", "))
        for frame in FRAMES:
            a, b, c, d = islice(terms, 4)
            next(terms)
            n, m, k = islice(numbers, 3)
            made.append(frame.format(s=subject, a=a, b=b, c=c, d=d, v=next(verbs), n=n, m=m, k=k))
    return made
