"""Voice packs: one style vector for every length of segment, and the names they go by."""

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import frozen

from kokoro_trio.errors import BadKnob, UnknownVoice
from kokoro_trio.speech import MAX_SEGMENT_PHONEMES

if TYPE_CHECKING:
    import torch

CLOSE_MATCHES = 3


@frozen
class VoiceCatalogue:
    """The names that a client may use. `female` and `male` stand for the configured voices."""

    names: tuple[str, ...]
    aliases: Mapping[str, str]

    @classmethod
    def of(cls, names: tuple[str, ...], *, female: str, male: str) -> "VoiceCatalogue":
        """Raises `BadKnob` where a configured voice is not there."""
        catalogue = cls(tuple(sorted(names)), {})
        for knob, voice in (("DEFAULT_VOICE_FEMALE", female), ("DEFAULT_VOICE_MALE", male)):
            if voice not in names:
                raise BadKnob(knob, voice, f"one of {', '.join(catalogue.names)}")
        return cls(catalogue.names, {"female": female, "male": male})

    def resolve(self, name: str) -> str:
        """The voice pack's own name. Raises `UnknownVoice` with the nearest names; never falls back."""
        resolved = self.aliases.get(name, name)
        if resolved not in self.names:
            known = [*self.names, *self.aliases]
            raise UnknownVoice(got=name, close_matches=difflib.get_close_matches(name, known, CLOSE_MATCHES))
        return resolved


def language_of(voice: str) -> str:
    """The first letter of a voice's name is the language it was made from: `a` American English …"""
    return voice[0]


@frozen
class VoicePacks:
    """`packs[name]` has shape (510, 256): a style vector for every number of phonemes from 1."""

    packs: Mapping[str, "torch.Tensor"]

    def style_vector(self, voice: str, n_phonemes: int) -> "torch.Tensor":
        """Shape (256,): the first half is the decoder's style, the second the predictors'."""
        if not 1 <= n_phonemes <= MAX_SEGMENT_PHONEMES:
            raise ValueError(f"a segment has 1 to {MAX_SEGMENT_PHONEMES} phonemes, not {n_phonemes}")
        return self.packs[voice][n_phonemes - 1]


def blend(packs: Mapping[str, "torch.Tensor"], weights: Mapping[str, float]) -> "torch.Tensor":
    """The weighted mean of voice packs, of their shape; `weights` by voice, of any sum above 0."""
    total = sum(weights.values())
    first, *others = (packs[voice] * (weight / total) for voice, weight in weights.items())
    return sum(others, start=first)
