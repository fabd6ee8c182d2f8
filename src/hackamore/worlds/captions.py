"""A small grammar that says what a picture shows, in varying words, order and completeness."""

from __future__ import annotations

import numpy as np

MOST_WORDS = 22
MANNER_WORDS = 4
"""Words that the manner of a picture adds at most."""

Facts = dict[str, str]

SUBJECTS: dict[str, tuple[str, ...]] = {
    "mountains": ("mountains", "a mountain range", "a mountain landscape", "high mountains"),
    "hills": ("rolling hills", "hills", "gentle hills"),
    "dunes": ("sand dunes", "desert dunes", "a sandy desert"),
    "canyon": ("a red rock canyon", "desert mesas", "a canyon with mesas"),
    "islands": ("islands", "rocky islands", "an archipelago"),
    "coast": ("a coast", "a rocky coast", "a seashore"),
    "volcano": ("a volcano",),
    "woods": ("a forest interior", "the inside of a forest", "deep woods", "a dense forest"),
    "plains": ("a wide plain", "a plain with distant mountains", "grassland with far mountains"),
}
WATERS: dict[str, tuple[str, ...]] = {
    "lake": ("a lake", "a lake", "a calm lake"),
    "river": ("a river", "a winding river"),
    "sea": ("the sea", "the ocean"),
    "oasis": ("an oasis", "a small oasis"),
}
TREES: dict[str, tuple[str, ...]] = {
    "pine": ("pine trees", "pines", "fir trees"),
    "round": ("trees", "green trees"),
    "autumn": ("autumn trees", "colourful autumn trees"),
    "blossom": ("blossoming trees", "pink blossom trees"),
    "bare": ("bare trees", "leafless trees"),
    "palm": ("palm trees", "palms"),
}
TIMES: dict[str, tuple[str, ...]] = {
    "sunrise": ("at sunrise", "at dawn", "in the early morning"),
    "noon": ("at noon", "at midday"),
    "afternoon": ("in the afternoon", "in the late afternoon"),
    "sunset": ("at sunset", "at sundown"),
    "dusk": ("at dusk", "at twilight"),
    "night": ("at night", "by moonlight"),
}
SIGHTS: dict[str, tuple[str, ...]] = {
    "hut": ("a hut", "a house", "a cabin"),
    "village": ("a village", "houses", "a few huts"),
    "bridge": ("a bridge", "a bridge over the water"),
    "waterfall": ("a waterfall", "a waterfall", "falling water"),
}
DISTANCES: dict[str, tuple[str, ...]] = {
    "near": ("nearby", "in the foreground"),
    "far": ("far away", "in the distance"),
}
STYLES: dict[str, tuple[str, ...]] = {
    "watercolour": ("a watercolour of {}", "{}, watercolour", "watercolour painting of {}"),
    "pixel art": ("pixel art of {}", "{}, pixel art"),
    "ink": ("an ink drawing of {}", "{}, ink drawing", "ink sketch of {}"),
}
PHOTO = ("a photo of {}", "{}, photo", "photograph of {}")
PLACES = {"left": "on the left", "right": "on the right", "middle": "in the middle"}


def choose(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    """One of the words."""
    return words[int(rng.integers(len(words)))]


def write_caption(rng: np.random.Generator, facts: Facts) -> str:
    """A caption of at most 22 words: the land, what is there, the time of day, then details in random order."""
    return in_style(rng, facts, ", ".join(land_clauses(rng, facts, MOST_WORDS)))


def in_style(rng: np.random.Generator, facts: Facts, caption: str) -> str:
    """The caption with the manner of the picture, at most four words more; a photograph is seldom called one."""
    style = facts.get("style", "photo")
    if style == "photo":
        return choose(rng, PHOTO).format(caption) if "style" in facts and rng.random() < 0.08 else caption
    return choose(rng, STYLES[style]).format(caption)


def land_clauses(rng: np.random.Generator, facts: Facts, most: int) -> list[str]:
    """The clauses of a caption of a land, together at most ``most`` words unless the first alone has more."""
    things = _things(rng, facts)
    rng.shuffle(things)
    first = SIGHTS.get(facts.get("sight", "none"), ())
    things.sort(key=lambda thing: not thing.startswith(first) if first else False)
    subject = _subject(rng, facts)
    time = choose(rng, TIMES[facts["time"]]) if rng.random() < 0.93 else ""
    if time == "by moonlight" and facts["weather"] == "overcast":
        time = "at night"
    lead = _lead(rng, facts, subject, things)
    while len(f"{lead} {time}".split()) > most and things:
        things = things[:2] if len(things) > 3 else things[:-1]
        lead = _lead(rng, facts, subject, things)
    if facts["time"] in ("sunrise", "sunset", "dusk", "night") and time and rng.random() < 0.15:
        lead, time = f"{facts['time']} over {lead}", ""
    parts = [f"{lead} {time}".strip(), *_details(rng, facts, lead)]
    while sum(len(part.split()) for part in parts) > most and len(parts) > 1:
        parts.pop()
    return parts


def _subject(rng: np.random.Generator, facts: Facts) -> str:
    subject = choose(rng, SUBJECTS[facts["terrain"]])
    if facts["season"] == "winter" and facts["snow"] == "yes" and rng.random() < 0.85:
        return _with_adjective(subject, "snowy")
    if facts["terrain"] == "hills" and facts["season"] in ("spring", "summer") and rng.random() < 0.35:
        return "green hills"
    if facts["terrain"] == "mountains" and facts["peak"] in PLACES and rng.random() < 0.5:
        return f"a big mountain {PLACES[facts['peak']]}"
    if facts["terrain"] == "volcano" and facts["peak"] in PLACES and rng.random() < 0.5:
        return f"a volcano {PLACES[facts['peak']]}"
    return subject


def _with_adjective(noun: str, adjective: str) -> str:
    for article in ("a ", "an "):
        if noun.startswith(article):
            return f"a {adjective} {noun[len(article) :]}"
    return f"{adjective} {noun}"


def _placed(rng: np.random.Generator, noun: str, side: str) -> str:
    """The noun, usually with its side when it has one."""
    return f"{noun} {PLACES[side]}" if side in ("left", "right") and rng.random() < 0.7 else noun


def _things(rng: np.random.Generator, facts: Facts) -> list[str]:
    """What else can be seen, each with its place."""
    things: list[str] = []
    if facts.get("sight", "none") != "none":
        sight = _placed(rng, choose(rng, SIGHTS[facts["sight"]]), facts["sight side"])
        distance = DISTANCES.get(facts["sight distance"], ())
        if distance and "over" not in sight and rng.random() < 0.5:
            sight = f"{sight} {choose(rng, distance)}"
        things.append(sight)
    if facts["water"] != "none" and facts["water in front"] != "yes":
        things.append(_placed(rng, choose(rng, WATERS[facts["water"]]), facts["water side"]))
    if facts["lone tree"] == "yes":
        kind = {"pine": "pine tree", "palm": "palm tree", "bare": "bare tree"}.get(facts["trees"], "tree")
        things.append(_placed(rng, f"a lone {kind}", facts["trees side"]))
    elif facts["trees"] != "none":
        things.append(_placed(rng, choose(rng, TREES[facts["trees"]]), facts["trees side"]))
    if facts["forest"] == "yes" and facts["terrain"] != "woods":
        forest = {"autumn": "an autumn forest", "winter": "a dark forest"}.get(facts["season"], "a forest")
        things.append(_placed(rng, forest, facts["forest side"]))
    if facts["snow"] == "yes" and facts["season"] != "winter":
        things.append("a snowy summit" if facts["terrain"] == "volcano" else "snowy peaks")
    if facts["flowers"] == "yes":
        things.append(choose(rng, ("flowers", "a field of flowers", "wildflowers")))
    if facts["road"] == "yes":
        things.append(choose(rng, ("a road", "a dirt road", "a path")))
    return [thing for thing in things if rng.random() < 0.9]


def _lead(rng: np.random.Generator, facts: Facts, subject: str, things: list[str]) -> str:
    """The first clause: the land with up to three things, or water in front of it."""
    few = things[:3]
    if facts["water"] != "none" and facts["water in front"] == "yes":
        water = choose(rng, WATERS[facts["water"]])
        if " on the " in subject or " in the " in subject or " with " in subject or facts["terrain"] == "canyon":
            few = [water, *things[:2]]
        else:
            if facts["water"] == "sea" or rng.random() < 0.65:
                front = f"{_placed(rng, water, facts['water side'])} in front of {subject}"
            else:
                front = f"{subject} behind {water}"
            return f"{front} and {things[0]}" if things and rng.random() < 0.8 else front
    if not few:
        return subject
    joint = " and " if " with " in subject else " with "
    return f"{subject}{joint}{' and '.join(few)}"


def _details(rng: np.random.Generator, facts: Facts, lead: str) -> list[str]:
    """Weather, season, light and viewpoint, shuffled; likelier ones more often."""
    options: list[tuple[str, float]] = [(_weather(rng, facts), 0.88)]
    if facts["terrain"] not in ("dunes", "canyon"):
        options.append((facts["season"], 0.7))
    if facts["sun"] != "none":
        body = choose(rng, ("the moon", "a full moon")) if facts["time"] == "night" else choose(rng, ("sun", "the sun"))
        options.append((f"{body} {PLACES[facts['sun']]}", 0.6))
    elif facts["light side"] != "none":
        options.append((f"light from the {facts['light side']}", 0.3))
    if facts["stars"] == "yes":
        options.append((choose(rng, ("stars", "starry sky")), 0.5))
    if facts["camera"] == "above":
        options.append((choose(rng, ("seen from above", "view from above", "aerial view")), 0.7))
    elif facts["camera"] == "low":
        options.append(("low viewpoint", 0.25))
    if facts["horizon"] != "middle":
        options.append((f"{facts['horizon']} horizon", 0.4))
    if facts["peak"] in PLACES and facts["terrain"] != "volcano" and "a big mountain" not in lead:
        noun = {"canyon": "a tall mesa"}.get(facts["terrain"], "a tall peak")
        options.append((f"{noun} {PLACES[facts['peak']]}", 0.25))
    parts = [words for words, chance in options if words and rng.random() < chance]
    rng.shuffle(parts)
    return parts


def _weather(rng: np.random.Generator, facts: Facts) -> str:
    if facts["precipitation"] == "rain":
        return choose(rng, ("rain", "rainy weather", "falling rain"))
    if facts["precipitation"] == "snowfall":
        return choose(rng, ("falling snow", "snowfall"))
    if facts["weather"] == "stormy":
        return choose(rng, ("storm", "stormy sky", "dark storm clouds"))
    if facts["weather"] == "foggy":
        return choose(rng, ("fog", "misty", "light fog"))
    if facts["weather"] == "overcast":
        return choose(rng, ("overcast sky", "grey sky", "overcast"))
    if facts["weather"] == "cloudy":
        return choose(rng, ("cloudy sky", "clouds", "white clouds")) if facts["clouds"] == "yes" else ""
    return choose(rng, ("clear sky", "clear weather")) if facts["clouds"] == "no" else ""
