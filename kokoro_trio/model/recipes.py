"""How voices are mixed: `af_aoede+af_nicole`, each repeat or `(weight)` counting for more.

A voice alone is a recipe too. Equal mixtures have one recipe, and one spelling of it: that is what the
model knows a voice by.
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
    """`weights` by voice: whole numbers without a common divisor, in the order of the voices' names."""

    weights: Mapping[str, int]

    @classmethod
    def parse(cls, text: str) -> "Recipe":
        """Whether there are such voices is for the caller to know. Raises `MalformedRecipe`."""
        if len(text) > MAX_RECIPE_CHARS:
            raise _malformed(text, f"it has more than {MAX_RECIPE_CHARS} characters")
        shares: defaultdict[str, Fraction] = defaultdict(Fraction)
        for term in text.split("+"):
            voice, weight = _term(text, term)
            shares[voice] += weight
        if len(shares) > MAX_RECIPE_VOICES:
            raise _malformed(text, f"it mixes {len(shares)} voices, {MAX_RECIPE_VOICES} are allowed")
        return cls(_reduced(shares))

    def __str__(self) -> str:
        return "+".join(
            voice if weight == 1 else f"{voice}({weight})" for voice, weight in self.weights.items()
        )

    @property
    def main_voice(self) -> str:
        """The one with the most weight; among equals the first by name."""
        return max(self.weights, key=lambda voice: self.weights[voice])


def looks_like_a_recipe(name: str) -> bool:
    """Whether it can be no name: no voice has one of these marks in its name."""
    return _MARKS.search(name) is not None


def _term(text: str, term: str) -> tuple[str, Fraction]:
    if not term.strip():
        raise _malformed(text, "there must be a voice on both sides of a +")
    found = _TERM.fullmatch(term.strip())
    if found is None:
        raise _malformed(text, f"{term.strip()!r} is not a voice, or a voice with its (weight)")
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
    """Raises `NotMixable` for the first voice of a recipe that is none of the model's, `known`."""
    for voice in recipe.weights:
        if voice not in known:
            raise NotMixable(got=voice[:MAX_GOT_CHARS], close_matches=near_names(voice, known))


def unknown_voice(name: str, known: Collection[str]) -> UnknownVoice:
    return UnknownVoice(got=name[:MAX_GOT_CHARS], close_matches=near_names(name, known))


def near_names(name: str, known: Collection[str]) -> list[str]:
    # A name as long as a message may be would take seconds to compare.
    return difflib.get_close_matches(name[:MAX_GOT_CHARS], known, CLOSE_MATCHES)
