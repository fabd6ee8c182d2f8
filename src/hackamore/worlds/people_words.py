"""Captions of worlds with people: who does what, before the land or on a stage."""

from __future__ import annotations

import numpy as np

from hackamore.worlds.captions import MOST_WORDS, PLACES, Facts, choose, in_style, land_clauses

PLURALS = {"woman": ("women", "people"), "man": ("men", "people"), "both": ("people", "people")}
NUMBERS = {"2": "two", "3": "three"}
ARMS: dict[str, tuple[str, ...]] = {
    "waving": ("waving",),
    "raised": ("with raised arms", "arms raised"),
    "hips": ("with a hand on the hip",),
    "pointing": ("pointing",),
    "folded": ("with folded arms", "arms folded"),
}
STAGES = ("on a stage", "on stage", "on a concert stage")


def words(text: str) -> int:
    """How many words a text has."""
    return len(text.split())


def write_people_caption(rng: np.random.Generator, facts: Facts) -> str:
    """A caption of at most 22 words that names the people first, or last, then its manner."""
    return in_style(rng, facts, _told(rng, facts))


def _told(rng: np.random.Generator, facts: Facts) -> str:
    if facts["stage"] == "yes":
        return _concert(rng, facts)
    someone = _someone(rng, facts)
    clauses = land_clauses(rng, facts, MOST_WORDS - 8)
    room = MOST_WORDS - words(clauses[0])
    while len(someone) > 2 and words(" ".join(someone)) > room:
        someone.pop()
    person = " ".join(someone).rstrip(",")
    if words(person) > room:
        person = someone[0].rstrip(",")
    land, details = clauses[0], clauses[1:]
    if rng.random() < 0.22:
        parts = [land, person]
    elif (
        rng.random() < 0.3
        and ", one" not in person
        and not land.startswith(("sunrise", "sunset", "dusk", "night"))
        and "in front" not in land
    ):
        parts = [f"{person} in front of {land}"]
    else:
        parts = [person, land]
    parts += details
    while sum(map(words, parts)) > MOST_WORDS and len(parts) > 2:
        parts.pop()
    if sum(map(words, parts)) > MOST_WORDS:
        parts = [person, land]
    return ", ".join(parts)


def _clad(rng: np.random.Generator, facts: Facts) -> str:
    """In what clothes the nearest is."""
    colour, clothes = facts["person colour"], facts["person clothes"]
    article = "an" if colour.startswith("o") else "a"
    if rng.random() < 0.12:
        return f"in {colour}"
    return f"in {article} {colour} {clothes}"


def _someone(rng: np.random.Generator, facts: Facts) -> list[str]:
    """Pieces that name the people, the most important first."""
    if facts["people"] == "1":
        noun = f"a {facts['person']}" if rng.random() < 0.88 else "a person"
        pieces = [noun, _clad(rng, facts)] if rng.random() < 0.85 else [noun]
        deed, arms = _deed(rng, facts["person pose"], facts["person seat"]), ARMS.get(facts["person arms"], ())
        gesture = choose(rng, arms) if arms and rng.random() < 0.75 else ""
        if gesture not in ("waving", "pointing") or deed != "standing" or rng.random() < 0.3:
            pieces.append(deed)
        if gesture:
            pieces.append(gesture)
        if facts["person facing"] != "front" and rng.random() < 0.6:
            pieces.append({"back": "seen from behind", "side": "seen from the side"}[facts["person facing"]])
        if facts["person side"] in PLACES and rng.random() < 0.55:
            pieces.append(PLACES[facts["person side"]])
        return pieces
    plural = choose(rng, PLURALS[facts["people kind"]])
    if facts["people kind"] == "both" and facts["people"] == "2" and rng.random() < 0.5:
        pieces = ["a man and a woman"]
    else:
        pieces = [f"{NUMBERS[facts['people']]} {plural}"]
    if facts["people pose"] != "various":
        pieces.append(_deed(rng, facts["people pose"], "none"))
    if rng.random() < 0.5:
        pieces[-1] += ","
        pieces.append(f"one {_clad(rng, facts)}")
    return pieces


def _deed(rng: np.random.Generator, pose: str, seat: str) -> str:
    if pose == "sitting" and seat != "none" and rng.random() < 0.7:
        return f"sitting on {'the ground' if seat == 'ground' else f'a {seat}'}"
    return pose


def _performers(rng: np.random.Generator, facts: Facts) -> list[str]:
    """Pieces that name who is on the stage."""
    deed = facts["people pose"]
    if facts["people"] != "1":
        if deed == "various":
            return ["a band"] if rng.random() < 0.6 else [f"{NUMBERS[facts['people']]} musicians"]
        noun = f"{NUMBERS[facts['people']]} {choose(rng, PLURALS[facts['people kind']])}"
        return [noun, deed]
    title = {"singing": "a singer", "playing guitar": "a guitarist", "dancing": "a dancer"}.get(deed, "")
    if title and rng.random() < 0.4:
        return [title, _clad(rng, facts)] if rng.random() < 0.5 else [title]
    deed = "singing into a microphone" if deed == "singing" and rng.random() < 0.4 else deed
    pieces = [f"a {facts['person']}"]
    if rng.random() < 0.75:
        pieces.append(_clad(rng, facts))
    return [*pieces, deed]


def _concert(rng: np.random.Generator, facts: Facts) -> str:
    lead = " ".join([*_performers(rng, facts), choose(rng, STAGES)])
    light = facts["stage light"]
    if rng.random() < 0.6:
        parts = [f"{lead} with {light} {choose(rng, ('lights', 'spotlights', 'light beams'))}"]
    else:
        parts = [lead, f"{light} {choose(rng, ('stage lights', 'spotlights', 'light'))}"]
    extras: list[tuple[str, float]] = []
    if facts["crowd"] == "yes":
        extras.append((choose(rng, ("a crowd in front", "in front of a crowd", "an audience")), 0.7))
    if facts["drums"] == "yes":
        extras.append(("drums", 0.5))
    if facts["loudspeakers"] == "yes":
        extras.append(("loudspeakers", 0.4))
    if facts["wall"] in ("red curtain", "blue curtain", "brick wall"):
        extras.append((f"a {facts['wall']}", 0.5))
    if facts["person side"] in PLACES and facts["people"] == "1":
        extras.append((f"{facts['person']} {PLACES[facts['person side']]}", 0.2))
    details = [text for text, chance in extras if rng.random() < chance]
    rng.shuffle(details)
    parts += details
    while sum(map(words, parts)) > MOST_WORDS and len(parts) > 1:
        parts.pop()
    return ", ".join(parts)
