"""Pure: recipes of blends, their unique spelling, and malformed ones."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kokoro_trio.errors import MalformedRecipe, UnknownVoice
from kokoro_trio.model.recipes import (
    Recipe,
    check_voices,
    looks_like_a_recipe,
)
from kokoro_trio.wire.limits import MAX_RECIPE_CHARS, MAX_RECIPE_VOICES


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("af_bella", "af_bella"),
        ("af_nicole+af_aoede", "af_aoede+af_nicole"),
        ("af_bella+af_sky+af_bella", "af_bella(2)+af_sky"),
        ("af_bella(2)+af_sky(1)", "af_bella(2)+af_sky"),
        ("af_bella(4)+af_sky(2)", "af_bella(2)+af_sky"),
        ("af_bella(0.5)+af_sky(.25)", "af_bella(2)+af_sky"),
        ("+".join(["af_sky"] * 6 + ["af_bella"] * 4), "af_bella(2)+af_sky(3)"),
        ("af_bella(0.1)+af_sky(0.2)+af_bella(0.1)", "af_bella+af_sky"),
        (" af_bella ( 3 ) + af_sky ", "af_bella(3)+af_sky"),
        ("af_sky(7)", "af_sky"),
    ],
)
def test_equal_blends_have_one_spelling(text: str, spelling: str) -> None:
    assert str(Recipe.parse(text)) == spelling


@given(st.dictionaries(st.sampled_from(["af_a", "am_b", "bf_c", "x"]), st.integers(1, 999_999), min_size=1))
def test_spelling_round_trips(weights: dict[str, int]) -> None:
    recipe = Recipe.parse("+".join(f"{voice}({weight})" for voice, weight in weights.items()))
    assert Recipe.parse(str(recipe)) == recipe
    total, whole = sum(weights.values()), sum(recipe.weights.values())
    assert {voice: Fraction(weight, whole) for voice, weight in recipe.weights.items()} == {
        voice: Fraction(weight, total) for voice, weight in weights.items()
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "both sides"),
        ("af_bella+", "both sides"),
        ("af_bella++af_sky", "both sides"),
        ("af_bella + +af_sky", "both sides"),
        ("af_bella(", "'af_bella('"),
        ("af_bella(2)(3)", "(2)(3)"),
        ("af_bella(-1)+af_sky", "(-1)"),
        ("af_bella(1e3)", "(1e3)"),
        ("af_bella(nan)", "(nan)"),
        ("af_bella(٣)", "(٣)"),
        ("af bella+af_sky", "'af bella'"),
        ("af_bella(0)+af_sky", "above 0"),
        ("af_bella(0.0)", "above 0"),
        ("af_bella(12345678)", "12345678"),
        ("+".join(f"v{n}" for n in range(MAX_RECIPE_VOICES + 1)), "17 voices"),
        ("a+" * MAX_RECIPE_CHARS, "2000 characters"),
    ],
)
def test_malformed_recipe_is_rejected(text: str, says: str) -> None:
    with pytest.raises(MalformedRecipe) as refused:
        Recipe.parse(text)
    assert says in refused.value.reason
    assert len(str(refused.value)) < 400


def test_most_voices_are_accepted() -> None:
    names = [f"v{n}" for n in range(MAX_RECIPE_VOICES)]
    assert set(Recipe.parse("+".join(names * 3)).weights.values()) == {1}


@pytest.mark.parametrize(
    ("text", "voice"), [("af_a+bm_b(2)", "bm_b"), ("bm_b+af_a", "af_a"), ("z_only", "z_only")]
)
def test_main_voice_has_the_largest_weight(text: str, voice: str) -> None:
    assert Recipe.parse(text).main_voice == voice


def test_name_does_not_look_like_a_recipe() -> None:
    assert not looks_like_a_recipe("my_blend-2")
    assert looks_like_a_recipe("af_bella+af_sky")
    assert looks_like_a_recipe("af_bella(2")


def test_unknown_voice_is_rejected_with_near_names() -> None:
    with pytest.raises(UnknownVoice) as refused:
        check_voices(Recipe.parse("af_bella+af_skye"), ["af_bella", "af_sky"])
    assert refused.value.got == "af_skye"
    assert refused.value.close_matches[0] == "af_sky"
