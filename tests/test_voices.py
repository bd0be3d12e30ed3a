"""Pure: voice names, what they stand for, and the style vectors of a pack."""

import numpy as np
import pytest
import torch

from kokoro_trio.errors import BadKnob, UnknownVoice
from kokoro_trio.model.recipes import Recipe
from kokoro_trio.model.voices import Voice, VoiceCatalogue, VoicePacks, blend, language_of

NAMES = ("am_michael", "af_heart", "af_aoede")


@pytest.fixture
def catalogue() -> VoiceCatalogue:
    return VoiceCatalogue.of(NAMES, female="af_aoede", male="am_michael")


@pytest.mark.parametrize(
    ("name", "voice"), [("female", "af_aoede"), ("male", "am_michael"), ("af_heart", "af_heart")]
)
def test_names_and_what_they_stand_for(catalogue: VoiceCatalogue, name: str, voice: str) -> None:
    assert catalogue.resolve(name) == Voice(voice, Recipe({voice: 1}))


@pytest.mark.parametrize(("name", "near"), [("af_haert", "af_heart"), ("femal", "female")])
def test_an_unknown_voice_is_refused_with_near_names(catalogue: VoiceCatalogue, name: str, near: str) -> None:
    with pytest.raises(UnknownVoice) as caught:
        catalogue.resolve(name)
    assert caught.value.close_matches[0] == near
    assert near in str(caught.value)


def test_nothing_near(catalogue: VoiceCatalogue) -> None:
    with pytest.raises(UnknownVoice) as caught:
        catalogue.resolve("qqqqqq")
    assert caught.value.close_matches == []


def test_a_configured_voice_that_is_not_there_stops_the_start() -> None:
    with pytest.raises(BadKnob, match=r"DEFAULT_VOICE_MALE.*af_aoede"):
        VoiceCatalogue.of(NAMES, female="af_aoede", male="am_nobody")


def test_the_language_is_the_first_letter() -> None:
    assert language_of("bf_emma") == "b"


def test_the_style_vector_goes_by_the_number_of_phonemes() -> None:
    packs = VoicePacks({"v": torch.arange(510.0)[:, None].expand(510, 256)})
    assert packs.style_vector("v", 1).tolist() == [0.0] * 256
    assert packs.style_vector("v", 510)[0] == 509.0


@pytest.mark.parametrize("n_phonemes", [0, 511])
def test_there_is_none_outside_the_range(n_phonemes: int) -> None:
    with pytest.raises(ValueError, match="510"):
        VoicePacks({"v": torch.zeros(510, 256)}).style_vector("v", n_phonemes)


def test_a_blend_is_the_weighted_mean_of_its_packs() -> None:
    generator = np.random.default_rng(3)
    packs = {name: generator.normal(size=(510, 256)).astype(np.float32) for name in "abc"}
    tensors = {name: torch.from_numpy(pack) for name, pack in packs.items()}
    mixed = blend(tensors, {"a": 3, "b": 1})
    np.testing.assert_allclose(mixed.numpy(), (3 * packs["a"] + packs["b"]) / 4, atol=1e-6)
    assert (blend(tensors, {"c": 0.5}) == tensors["c"]).all()
