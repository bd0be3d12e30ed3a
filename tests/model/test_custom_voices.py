"""Files and processes: named blends, and the script voices/custom_voices.py."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from attrs import frozen
from filelock import FileLock

from kokoro_trio.config import REPOSITORY
from kokoro_trio.errors import MalformedRecipe, UnknownVoice
from kokoro_trio.model.custom_voices import (
    BadVoiceName,
    CustomVoices,
    NoSuchCustomVoice,
    VoiceExists,
    released_voices,
    usable_blends,
)
from tests.support.environment import TEST_WEIGHTS

BASE = ("af_aoede", "af_bella", "af_sky", "am_michael")
SCRIPT = REPOSITORY / "voices" / "custom_voices.py"


@pytest.fixture
def custom_voices(tmp_path: Path) -> CustomVoices:
    return CustomVoices(tmp_path / "custom_voices", BASE)


class TestStore:
    def test_add_and_remove(self, custom_voices: CustomVoices) -> None:
        custom_voices.add("one", "af_bella+af_sky", validate=True)
        custom_voices.add("two", "af_sky(2)+af_bella")
        assert custom_voices.read() == {"one": "af_bella+af_sky", "two": "af_sky(2)+af_bella"}
        custom_voices.remove("one")
        assert custom_voices.read() == {"two": "af_sky(2)+af_bella"}

    def test_existing_name_needs_replace(self, custom_voices: CustomVoices) -> None:
        custom_voices.add("one", "af_bella")
        with pytest.raises(VoiceExists, match="--replace"):
            custom_voices.add("one", "af_sky")
        custom_voices.add("one", "af_sky", replace=True)
        assert custom_voices.read() == {"one": "af_sky"}

    @pytest.mark.parametrize("name", ["", "a b", "a+b", "a(2)", "ä", "x" * 65, "one\n", "a/b", "."])
    def test_invalid_names_are_rejected(self, custom_voices: CustomVoices, name: str) -> None:
        with pytest.raises(BadVoiceName, match="letters"):
            custom_voices.add(name, "af_bella")

    @pytest.mark.parametrize("name", ["af_bella", "female", "male"])
    def test_names_of_other_voices_are_rejected(self, custom_voices: CustomVoices, name: str) -> None:
        with pytest.raises(BadVoiceName, match="another voice"):
            custom_voices.add(name, "af_bella", replace=True)

    def test_malformed_recipe_is_rejected(self, custom_voices: CustomVoices) -> None:
        with pytest.raises(MalformedRecipe):
            custom_voices.add("one", "af_bella+")

    @pytest.mark.parametrize("recipe", ["af_bela+af_sky", "female+af_sky", "one+af_sky"])
    def test_validation_rejects_unknown_voices(self, custom_voices: CustomVoices, recipe: str) -> None:
        custom_voices.add("one", "af_bella")
        with pytest.raises(UnknownVoice):
            custom_voices.add("two", recipe, validate=True)
        custom_voices.add("two", recipe)
        assert set(custom_voices.read()) == {"one", "two"}

    def test_removing_an_unknown_voice_is_rejected(self, custom_voices: CustomVoices) -> None:
        custom_voices.add("my_blend", "af_bella")
        with pytest.raises(NoSuchCustomVoice) as refused:
            custom_voices.remove("my_blnd")
        assert refused.value.close_matches == ["my_blend"]
        assert custom_voices.read() == {"my_blend": "af_bella"}

    def test_unknown_entries_are_kept(self, custom_voices: CustomVoices) -> None:
        custom_voices.add("one", "af_bella")
        custom_voices.path.write_text('{"note": [1, 2], "one": "af_bella"}')
        custom_voices.add("two", "af_sky")
        assert custom_voices.read() == {"note": [1, 2], "one": "af_bella", "two": "af_sky"}


def test_unusable_entries_are_ignored_and_logged() -> None:
    entries = {
        "good": "af_bella(2)+af_sky",
        "af_bella": "af_sky",
        "male": "af_sky",
        "bad name": "af_sky",
        "unknown": "af_sky+nobody",
        "of_a_blend": "good+af_sky",
        "malformed": "af_sky+",
        "a_number": 5,
        "nothing": None,
        "a_list": ["af_sky"],
    }
    blends, left_out = usable_blends(entries, BASE)
    assert {name: str(blend.recipe) for name, blend in blends.items()} == {"good": "af_bella(2)+af_sky"}
    assert {each.name for each in left_out} == set(entries) - {"good"}
    assert all(each.reason for each in left_out)


@pytest.mark.model
def test_released_voices_are_those_of_the_weights() -> None:
    from kokoro_trio.weights.prepared import open_weights

    assert set(released_voices()) == set(open_weights(TEST_WEIGHTS).voices)


@frozen
class Shell:
    """Runs the script in another working folder."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "custom_voices.json"

    def start(self, *arguments: str, code: str | None = None) -> subprocess.Popen[str]:
        script = ["-c", code] if code else [str(SCRIPT)]
        environment = os.environ | {
            "PYTHONPATH": str(REPOSITORY),
            "CUSTOM_VOICES_FOLDER": str(self.folder),
            "LC_ALL": "C",
        }
        return subprocess.Popen(
            [sys.executable, *script, *arguments],
            cwd="/",
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: str | None = None) -> tuple[int, str, str]:
        process = self.start(*arguments, code=code)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "blends")


class TestCommand:
    def test_from_add_to_remove(self, shell: Shell) -> None:
        code, out, _ = shell.run("list")
        assert (code, out) == (0, f"no custom voices in {shell.path}\n")
        add = ("add", "--name", "my_blend", "--recipe", "af_aoede+af_nicole", "--validate")
        code, out, _ = shell.run(*add)
        assert code == 0
        assert out.startswith("my_blend is af_aoede+af_nicole")
        assert json.loads(shell.path.read_text()) == {"my_blend": "af_aoede+af_nicole"}
        code, out, err = shell.run("list")
        assert (code, out, err) == (0, "my_blend  af_aoede+af_nicole\n", "")
        assert shell.run(*add)[0] == 1
        assert shell.run(*add, "--replace")[0] == 0
        assert shell.run("remove", "--name", "my_blend")[0] == 0
        assert json.loads(shell.path.read_text()) == {}

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("add", "--name", "x", "--recipe", "af_belle+af_sky", "--validate"), "af_bella"),
            (("add", "--name", "x", "--recipe", "my_blend+af_sky", "--validate"), "can mix only those"),
            (("add", "--name", "x", "--recipe", "af_bella+"), "not a recipe"),
            (("add", "--name", "af_bella", "--recipe", "af_sky"), "another voice"),
            (("remove", "--name", "x"), "'x'"),
        ],
    )
    def test_error_is_one_line(self, shell: Shell, arguments: tuple[str, ...], says: str) -> None:
        code, out, err = shell.run(*arguments)
        assert (code, out) == (1, "")
        (line,) = err.splitlines()
        assert line.startswith("error: ")
        assert says in line
        assert not shell.path.exists()

    @pytest.mark.parametrize(
        "arguments",
        [("list",), ("add", "--name", "x", "--recipe", "af_bella"), ("remove", "--name", "x")],
    )
    def test_damaged_file_is_reported_and_kept(self, shell: Shell, arguments: tuple[str, ...]) -> None:
        shell.folder.mkdir()
        shell.path.write_text('{"my_blend": "af_ao')
        code, _, err = shell.run(*arguments)
        assert code == 1
        (line,) = err.splitlines()
        assert line.startswith(f"error: {shell.path} is damaged")
        assert shell.path.read_text() == '{"my_blend": "af_ao'

    def test_folder_that_cannot_be_created(self, shell: Shell) -> None:
        shell.folder.write_text("a file is in the way")
        code, _, err = shell.run("add", "--name", "x", "--recipe", "af_bella")
        assert (code, len(err.splitlines())) == (1, 1)

    def test_list_reports_unusable_entries(self, shell: Shell) -> None:
        assert shell.run("add", "--name", "x", "--recipe", "af_belle+af_sky")[0] == 0
        code, out, err = shell.run("list")
        assert (code, out) == (0, "")
        assert "'x'" in err
        assert "af_bella" in err

    def test_concurrent_changes_are_both_kept(self, shell: Shell) -> None:
        names = ("one", "two")
        shell.folder.mkdir()
        with FileLock(f"{shell.path}.lock"):
            adding = [shell.start("add", "--name", name, "--recipe", "af_bella+af_sky") for name in names]
            time.sleep(1.5)  # Either would have been done by now.
            assert [process.poll() for process in adding] == [None, None]
        for process in adding:
            _, err = process.communicate(timeout=60)
            assert (process.returncode, err) == (0, "")
        assert set(json.loads(shell.path.read_text())) == set(names)

    def test_torch_is_not_imported(self, shell: Shell) -> None:
        code = (
            "import runpy, sys\n"
            f"sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
            "import custom_voices\n"
            "custom_voices.main(sys.argv[1:])\n"
            "assert not {'torch', 'trio'} & sys.modules.keys()\n"
        )
        arguments = ("add", "--name", "x", "--recipe", "af_bella", "--validate")
        assert shell.run(*arguments, code=code)[0] == 0
