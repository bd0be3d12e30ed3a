"""The names of voices, and voice packs: a style vector for every length of segment."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import Factory, evolve, field, frozen

from kokoro_trio.errors import BadKnob, MalformedRecipe, UnknownVoice
from kokoro_trio.model.custom_voices import Blends, CustomVoices
from kokoro_trio.model.recipes import Recipe, check_voices, looks_like_a_recipe, near_names, unknown_voice
from kokoro_trio.speech import MAX_SEGMENT_PHONEMES

if TYPE_CHECKING:
    import torch

MAX_KEPT_BLENDS = 32
"""A blended voice pack takes half a megabyte, and about a millisecond to compute."""


@frozen
class Voice:
    """A voice. The model identifies it by `recipe`, users by `name`."""

    name: str
    recipe: Recipe
    written: str | None = None
    """The recipe of a custom voice, as the user wrote it."""

    @property
    def language(self) -> str:
        """The language of the voice with the largest weight."""
        return language_of(self.recipe.main_voice)

    @property
    def gender(self) -> str | None:
        """From the second letter of a voice's name; None if the voices of a blend differ."""
        genders = {_GENDERS.get(voice[1:2]) for voice in self.recipe.weights}
        return genders.pop() if len(genders) == 1 else None


_GENDERS = {"f": "female", "m": "male"}


def _no_blends() -> Blends:
    return {}


@frozen
class VoiceCatalogue:
    """The names that a client may use. `female` and `male` mean the configured voices.

    `custom` returns the current named blends, which may change at any time.
    """

    names: tuple[str, ...]
    aliases: Mapping[str, str]
    custom: Callable[[], Blends] = _no_blends

    @classmethod
    def of(
        cls, names: tuple[str, ...], *, female: str, male: str, custom_folder: Path | None = None
    ) -> "VoiceCatalogue":
        """Raises `BadKnob` for a configured voice that is neither known nor a recipe of known ones."""
        catalogue = cls(tuple(sorted(names)), {})
        for knob, voice in (("DEFAULT_VOICE_FEMALE", female), ("DEFAULT_VOICE_MALE", male)):
            try:
                check_voices(Recipe.parse(voice), names)
            except UnknownVoice as error:
                allowed = f"a recipe of, or one of {', '.join(catalogue.names)}"
                raise BadKnob(knob, voice, allowed) from error
        aliases = {"female": female, "male": male}
        if custom_folder is None:
            return cls(catalogue.names, aliases)
        watched = CustomVoices(custom_folder, catalogue.names).watch()
        watched.current()  # Logs errors of the file at the start.
        return cls(catalogue.names, aliases, watched.current)

    def resolve(self, name: str) -> Voice:
        """The voice of a name or a recipe. Raises `UnknownVoice` with the nearest names."""
        resolved = self.aliases.get(name, name)
        if resolved in self.names:
            return _base_voice(resolved)
        if looks_like_a_recipe(resolved):
            return self._mixed(resolved)
        blends = self.custom()
        if name not in blends:
            raise unknown_voice(name, [*self.names, *self.aliases, *blends])
        return Voice(name, blends[name].recipe, blends[name].written)

    def voices(self) -> Iterator[Voice]:
        """The current voices that have a name."""
        yield from map(_base_voice, self.names)
        for name, blend in sorted(self.custom().items()):
            yield Voice(name, blend.recipe, blend.written)

    def _mixed(self, text: str) -> Voice:
        try:
            recipe = Recipe.parse(text)
        except MalformedRecipe as malformed:
            raise evolve(malformed, close_matches=near_names(text, self.names)) from None
        check_voices(recipe, self.names)
        return Voice(str(recipe), recipe)


def _base_voice(name: str) -> Voice:
    return Voice(name, Recipe({name: 1}))


def language_of(voice: str) -> str:
    """The first letter of a voice's name is its language: `a` is American English."""
    return voice[0]


@frozen(eq=False)
class VoicePacks:
    """`packs[name]` has shape (510, 256): a style vector per number of phonemes, from 1."""

    packs: Mapping[str, "torch.Tensor"]
    _mixed: Callable[[str], "torch.Tensor"] = field(
        init=False,
        repr=False,
        default=Factory(lambda self: lru_cache(MAX_KEPT_BLENDS)(self._mix), takes_self=True),
    )

    def style_vector(self, voice: str, n_phonemes: int) -> "torch.Tensor":
        """Shape (256,): the first half is the decoder's style, the second the predictors'.

        `voice` is the name of a pack, or a recipe.
        """
        if not 1 <= n_phonemes <= MAX_SEGMENT_PHONEMES:
            raise ValueError(f"a segment has 1 to {MAX_SEGMENT_PHONEMES} phonemes, not {n_phonemes}")
        pack = self.packs[voice] if voice in self.packs else self._mixed(voice)
        return pack[n_phonemes - 1]

    def _mix(self, recipe: str) -> "torch.Tensor":
        return blend(self.packs, Recipe.parse(recipe).weights)


def blend(packs: Mapping[str, "torch.Tensor"], weights: Mapping[str, float]) -> "torch.Tensor":
    """The weighted mean of voice packs. The sum of `weights` may be any number above 0."""
    total = sum(weights.values())
    first, *others = (packs[voice] * (weight / total) for voice, weight in weights.items())
    return sum(others, start=first)
