"""Voice packs: one style vector for every length of segment; how they are mixed, and their names."""

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
"""A mixed voice pack takes half a megabyte, and about a millisecond to make."""


@frozen
class Voice:
    """What a name stands for. `recipe` is what the model knows it by, `name` what people are told."""

    name: str
    recipe: Recipe
    written: str | None = None
    """The recipe of a custom voice, as its maker wrote it."""

    @property
    def language(self) -> str:
        """That of the voice with the most weight."""
        return language_of(self.recipe.main_voice)

    @property
    def gender(self) -> str | None:
        """The second letter of a voice's name; None where those of a mixture do not agree."""
        genders = {_GENDERS.get(voice[1:2]) for voice in self.recipe.weights}
        return genders.pop() if len(genders) == 1 else None


_GENDERS = {"f": "female", "m": "male"}


def _no_blends() -> Blends:
    return {}


@frozen
class VoiceCatalogue:
    """The names that a client may use. `female` and `male` stand for the configured voices.

    `custom` tells the blends that have a name now, which may change from one question to the next.
    """

    names: tuple[str, ...]
    aliases: Mapping[str, str]
    custom: Callable[[], Blends] = _no_blends

    @classmethod
    def of(
        cls, names: tuple[str, ...], *, female: str, male: str, custom_folder: Path | None = None
    ) -> "VoiceCatalogue":
        """Raises `BadKnob` where a configured voice is neither there nor a recipe of such."""
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
        watched.current()  # So that what is wrong with the file is told at the start.
        return cls(catalogue.names, aliases, watched.current)

    def resolve(self, name: str) -> Voice:
        """Of a name or a recipe. Raises `UnknownVoice` with the nearest names; never falls back."""
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
        """All that have a name of their own, as of now."""
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
    """The first letter of a voice's name is the language it was made from: `a` American English …"""
    return voice[0]


@frozen(eq=False)
class VoicePacks:
    """`packs[name]` has shape (510, 256): a style vector for every number of phonemes from 1."""

    packs: Mapping[str, "torch.Tensor"]
    _mixed: Callable[[str], "torch.Tensor"] = field(
        init=False,
        repr=False,
        default=Factory(lambda self: lru_cache(MAX_KEPT_BLENDS)(self._mix), takes_self=True),
    )

    def style_vector(self, voice: str, n_phonemes: int) -> "torch.Tensor":
        """Shape (256,): the first half is the decoder's style, the second the predictors'.

        `voice` is the name of a pack, or a recipe of some.
        """
        if not 1 <= n_phonemes <= MAX_SEGMENT_PHONEMES:
            raise ValueError(f"a segment has 1 to {MAX_SEGMENT_PHONEMES} phonemes, not {n_phonemes}")
        pack = self.packs[voice] if voice in self.packs else self._mixed(voice)
        return pack[n_phonemes - 1]

    def _mix(self, recipe: str) -> "torch.Tensor":
        return blend(self.packs, Recipe.parse(recipe).weights)


def blend(packs: Mapping[str, "torch.Tensor"], weights: Mapping[str, float]) -> "torch.Tensor":
    """The weighted mean of voice packs, of their shape; `weights` by voice, of any sum above 0."""
    total = sum(weights.values())
    first, *others = (packs[voice] * (weight / total) for voice, weight in weights.items())
    return sum(others, start=first)
