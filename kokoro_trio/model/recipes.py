"""Recipes of voice blends: `af_aoede+af_nicole`. A repeat or a `(weight)` raises a voice's share.

A single voice is a recipe too. Equal blends have equal recipes with one spelling, by which the model
identifies a voice.
"""

import difflib
import math
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from fractions import Fraction

from attrs import frozen

from kokoro_trio.errors import MalformedRecipe, NotMixable, UnknownVoice
from kokoro_trio.wire.limits import MAX_GOT_CHARS, MAX_RECIPE_CHARS, MAX_RECIPE_VOICES

CLOSE_MATCHES = 3

_MARKS = re.compile(r"[+()]")
_TERM = re.compile(
    r"(?P<voice>[A-Za-z0-9_-]+)(?:\s*\(\s*(?P<weight>[0-9]{1,6}(?:\.[0-9]{1,6})?|\.[0-9]{1,6})\s*\))?"
)


@frozen
class Recipe:
    """`weights` by voice: integers without a common divisor, ordered by the voices' names."""

    weights: Mapping[str, int]

    @classmethod
    def parse(cls, text: str) -> "Recipe":
        """Does not check that the voices exist. Raises `MalformedRecipe`."""
        if len(text) > MAX_RECIPE_CHARS:
            raise _malformed(text, f"it has more than {MAX_RECIPE_CHARS} characters")
        shares: defaultdict[str, Fraction] = defaultdict(Fraction)
        for term in text.split("+"):
            voice, weight = _term(text, term)
            shares[voice] += weight
        if len(shares) > MAX_RECIPE_VOICES:
            raise _malformed(text, f"it mixes {len(shares)} voices, at most {MAX_RECIPE_VOICES} are allowed")
        return cls(_reduced(shares))

    def __str__(self) -> str:
        return "+".join(
            voice if weight == 1 else f"{voice}({weight})" for voice, weight in self.weights.items()
        )

    @property
    def main_voice(self) -> str:
        """The voice with the largest weight, and among equals the first by name."""
        return max(self.weights, key=lambda voice: self.weights[voice])


def looks_like_a_recipe(name: str) -> bool:
    """Whether it has a mark that no voice's name has."""
    return _MARKS.search(name) is not None


def _term(text: str, term: str) -> tuple[str, Fraction]:
    if not term.strip():
        raise _malformed(text, "there must be a voice on both sides of a +")
    found = _TERM.fullmatch(term.strip())
    if found is None:
        raise _malformed(text, f"{term.strip()!r} is neither a voice nor a voice with a (weight)")
    weight = Fraction(found["weight"] or 1)
    if weight == 0:
        raise _malformed(text, "a weight must be above 0")
    return found["voice"], weight


def _reduced(shares: Mapping[str, Fraction]) -> dict[str, int]:
    scale = math.lcm(*(share.denominator for share in shares.values()))
    whole = {voice: int(shares[voice] * scale) for voice in sorted(shares)}
    divisor = math.gcd(*whole.values())
    return {voice: weight // divisor for voice, weight in whole.items()}


def _malformed(text: str, reason: str) -> MalformedRecipe:
    return MalformedRecipe(got=text[:MAX_GOT_CHARS], close_matches=[], reason=reason[:MAX_GOT_CHARS])


def check_voices(recipe: Recipe, known: Collection[str]) -> None:
    """Raises `NotMixable` for the first voice of a recipe that is not in `known`."""
    for voice in recipe.weights:
        if voice not in known:
            raise NotMixable(got=voice[:MAX_GOT_CHARS], close_matches=near_names(voice, known))


def unknown_voice(name: str, known: Collection[str]) -> UnknownVoice:
    return UnknownVoice(got=name[:MAX_GOT_CHARS], close_matches=near_names(name, known))


def near_names(name: str, known: Collection[str]) -> list[str]:
    # Comparing a name of the maximum message length would take seconds.
    return difflib.get_close_matches(name[:MAX_GOT_CHARS], known, CLOSE_MATCHES)
