"""Pure: the names of voices, and the style vectors of packs."""

from pathlib import Path

import numpy as np
import pytest
import structlog
import torch
from numpy.typing import NDArray

from kokoro_trio.errors import BadKnob, UnknownVoice
from kokoro_trio.model.recipes import Recipe
from kokoro_trio.model.voices import MAX_KEPT_BLENDS, Voice, VoiceCatalogue, VoicePacks, blend, language_of

NAMES = ("am_michael", "af_heart", "af_aoede")


@pytest.fixture
def catalogue() -> VoiceCatalogue:
    return VoiceCatalogue.of(NAMES, female="af_aoede", male="am_michael")


@pytest.mark.parametrize(
    ("name", "voice"), [("female", "af_aoede"), ("male", "am_michael"), ("af_heart", "af_heart")]
)
def test_names_and_aliases_resolve(catalogue: VoiceCatalogue, name: str, voice: str) -> None:
    assert catalogue.resolve(name) == Voice(voice, Recipe({voice: 1}))


@pytest.mark.parametrize(("name", "near"), [("af_haert", "af_heart"), ("femal", "female")])
def test_unknown_voice_is_rejected_with_near_names(catalogue: VoiceCatalogue, name: str, near: str) -> None:
    with pytest.raises(UnknownVoice) as caught:
        catalogue.resolve(name)
    assert caught.value.close_matches[0] == near
    assert near in str(caught.value)


def test_unknown_voice_without_near_names(catalogue: VoiceCatalogue) -> None:
    with pytest.raises(UnknownVoice) as caught:
        catalogue.resolve("qqqqqq")
    assert caught.value.close_matches == []


@pytest.mark.parametrize("male", ["am_nobody", "am_michael+am_nobody", "am_michael+", "my_blend"])
def test_unknown_configured_voice_is_a_bad_knob(male: str) -> None:
    with pytest.raises(BadKnob, match=r"DEFAULT_VOICE_MALE.*af_aoede"):
        VoiceCatalogue.of(NAMES, female="af_aoede", male=male)


def test_configured_voice_may_be_a_recipe() -> None:
    catalogue = VoiceCatalogue.of(NAMES, female="af_heart(2)+af_aoede", male="am_michael")
    assert catalogue.resolve("female").name == "af_aoede+af_heart(2)"


class TestRecipes:
    @pytest.mark.parametrize(
        ("text", "recipe"),
        [
            ("af_heart+af_aoede", "af_aoede+af_heart"),
            ("af_heart(2)+am_michael(4)", "af_heart+am_michael(2)"),
            ("af_heart(3)", "af_heart"),
        ],
    )
    def test_recipe_is_a_voice(self, catalogue: VoiceCatalogue, text: str, recipe: str) -> None:
        voice = catalogue.resolve(text)
        assert (voice.name, str(voice.recipe)) == (recipe, recipe)

    @pytest.mark.parametrize("stranger", ["af_aoeda", "female", "my_blend"])
    def test_recipe_may_only_mix_voices_of_the_model(self, catalogue: VoiceCatalogue, stranger: str) -> None:
        for text in (f"{stranger}+af_heart", f"af_heart+{stranger}", f"{stranger}(2)"):
            with pytest.raises(UnknownVoice) as refused:
                catalogue.resolve(text)
            assert refused.value.got == stranger

    def test_near_names_for_a_voice_in_a_recipe(self, catalogue: VoiceCatalogue) -> None:
        with pytest.raises(UnknownVoice) as refused:
            catalogue.resolve("af_heart+af_aoeda")
        assert refused.value.got == "af_aoeda"
        assert refused.value.close_matches[0] == "af_aoede"

    def test_malformed_recipe_is_an_unknown_voice(self, catalogue: VoiceCatalogue) -> None:
        with pytest.raises(UnknownVoice) as refused:
            catalogue.resolve("af_heart(2")
        facts = refused.value.facts()
        assert (facts["got"], facts["close_matches"]) == ("af_heart(2", ["af_heart"])
        assert "not a recipe" in str(refused.value)

    def test_very_long_name_is_rejected_quickly(self, catalogue: VoiceCatalogue) -> None:
        with pytest.raises(UnknownVoice) as refused:
            catalogue.resolve("ab" * 1_000_000)
        assert len(str(refused.value)) < 200

    @pytest.mark.parametrize(
        ("text", "language", "gender"),
        [
            ("af_heart", "a", "female"),
            ("am_michael+af_heart", "a", None),
            ("af_heart+af_aoede", "a", "female"),
            ("bf_emma(2)+af_heart", "b", "female"),
            ("bf_emma+af_heart", "a", "female"),
            ("xx_new", "x", None),
            ("xx_new+af_heart(3)", "a", None),
        ],
    )
    def test_language_and_gender(self, text: str, language: str, gender: str | None) -> None:
        catalogue = VoiceCatalogue.of((*NAMES, "bf_emma", "xx_new"), female="af_aoede", male="am_michael")
        voice = catalogue.resolve(text)
        assert (voice.language, voice.gender) == (language, gender)


class TestCustomVoices:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "custom_voices.json"

    def catalogue_over(self, file: Path) -> VoiceCatalogue:
        return VoiceCatalogue.of(NAMES, female="af_aoede", male="am_michael", custom_folder=file.parent)

    def test_custom_voice_in_a_recipe_is_rejected_with_a_reason(self, file: Path) -> None:
        file.write_text('{"my_blend": "af_heart(2)+af_aoede"}')
        with pytest.raises(UnknownVoice) as refused:
            self.catalogue_over(file).resolve("my_blend+af_heart")
        assert (refused.value.code, refused.value.got) == ("unknown_voice", "my_blend")
        assert "'my_blend' is not a voice of the model, and a recipe can mix only those" in str(refused.value)

    def test_custom_voice_resolves_by_name(self, file: Path) -> None:
        file.write_text('{"my_blend": "af_heart(2)+af_aoede"}')
        voice = self.catalogue_over(file).resolve("my_blend")
        assert (voice.name, str(voice.recipe)) == ("my_blend", "af_aoede+af_heart(2)")
        assert voice.written == "af_heart(2)+af_aoede"

    def test_custom_voices_are_reloaded(self, file: Path) -> None:
        catalogue = self.catalogue_over(file)
        with pytest.raises(UnknownVoice):
            catalogue.resolve("my_blend")
        file.write_text('{"my_blend": "af_heart"}')
        assert str(catalogue.resolve("my_blend").recipe) == "af_heart"
        assert [voice.name for voice in catalogue.voices()] == [*sorted(NAMES), "my_blend"]
        file.unlink()
        with pytest.raises(UnknownVoice):
            catalogue.resolve("my_blend")
        assert [voice.name for voice in catalogue.voices()] == sorted(NAMES)

    def test_near_names_include_custom_voices(self, file: Path) -> None:
        file.write_text('{"my_blend": "af_heart"}')
        with pytest.raises(UnknownVoice) as refused:
            self.catalogue_over(file).resolve("my_blnd")
        assert refused.value.close_matches == ["my_blend"]

    def test_file_errors_are_logged_at_the_start(self, file: Path) -> None:
        file.write_text('{"good": "af_heart", "af_heart": "af_aoede", "bad": "af_nobody"}')
        with structlog.testing.capture_logs() as logged:
            catalogue = self.catalogue_over(file)
        assert {entry["name"] for entry in logged if entry["event"] == "custom_voice_left_out"} == {
            "af_heart",
            "bad",
        }
        assert str(catalogue.resolve("good").recipe) == "af_heart"
        assert catalogue.resolve("af_heart").written is None

    def test_damaged_file_does_not_prevent_the_start(self, file: Path) -> None:
        file.write_text("{")
        with structlog.testing.capture_logs() as logged:
            catalogue = self.catalogue_over(file)
        assert [entry["event"] for entry in logged] == ["file_damaged"]
        assert catalogue.resolve("female").name == "af_aoede"


def test_language_is_the_first_letter() -> None:
    assert language_of("bf_emma") == "b"


def test_style_vector_depends_on_the_number_of_phonemes() -> None:
    packs = VoicePacks({"v": torch.arange(510.0)[:, None].expand(510, 256)})
    assert packs.style_vector("v", 1).tolist() == [0.0] * 256
    assert packs.style_vector("v", 510)[0] == 509.0


@pytest.mark.parametrize("n_phonemes", [0, 511])
def test_number_of_phonemes_outside_the_range_raises(n_phonemes: int) -> None:
    with pytest.raises(ValueError, match="510"):
        VoicePacks({"v": torch.zeros(510, 256)}).style_vector("v", n_phonemes)


class TestMixedPacks:
    @pytest.fixture
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        generator = np.random.default_rng(5)
        return {name: generator.normal(size=(510, 256)).astype(np.float32) for name in ("af_a", "bm_b", "c")}

    @pytest.fixture
    def packs(self, arrays: dict[str, NDArray[np.float32]]) -> VoicePacks:
        return VoicePacks({name: torch.from_numpy(array) for name, array in arrays.items()})

    @pytest.mark.parametrize("n_phonemes", [1, 77, 510])
    def test_blend_is_the_weighted_mean(
        self, arrays: dict[str, NDArray[np.float32]], packs: VoicePacks, n_phonemes: int
    ) -> None:
        recipe = str(Recipe.parse("+".join(["af_a"] * 6 + ["bm_b"] * 4)))
        expected = 0.6 * arrays["af_a"] + 0.4 * arrays["bm_b"]
        mixed = packs.style_vector(recipe, n_phonemes)
        np.testing.assert_allclose(mixed.numpy(), expected[n_phonemes - 1], atol=1e-6)

    def test_blend_is_cached(self, packs: VoicePacks) -> None:
        first = packs.style_vector("af_a+c", 3)
        assert packs.style_vector("af_a+c", 3).data_ptr() == first.data_ptr()

    def test_cache_of_blends_is_limited(self, packs: VoicePacks) -> None:
        first = packs.style_vector("af_a+c", 3)
        for weight in range(2, MAX_KEPT_BLENDS + 2):
            packs.style_vector(f"af_a({weight})+c", 3)
        again = packs.style_vector("af_a+c", 3)
        assert again.data_ptr() != first.data_ptr()
        assert (again == first).all()

    def test_pack_named_like_a_recipe_comes_first(self) -> None:
        packs = VoicePacks(
            {"a+b": torch.ones(510, 256), "a": torch.zeros(510, 256), "b": torch.zeros(510, 256)}
        )
        assert packs.style_vector("a+b", 1)[0] == 1


def test_blend_function_is_the_weighted_mean() -> None:
    generator = np.random.default_rng(3)
    packs = {name: generator.normal(size=(510, 256)).astype(np.float32) for name in "abc"}
    tensors = {name: torch.from_numpy(pack) for name, pack in packs.items()}
    mixed = blend(tensors, {"a": 3, "b": 1})
    np.testing.assert_allclose(mixed.numpy(), (3 * packs["a"] + packs["b"]) / 4, atol=1e-6)
    assert (blend(tensors, {"c": 0.5}) == tensors["c"]).all()
