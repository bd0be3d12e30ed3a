"""The blends that users have named: a JSON file of names and recipes, for a command line and the server."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import structlog
from attrs import define, frozen

from kokoro_trio.errors import KokoroTrioError, MalformedRecipe, UnknownVoice
from kokoro_trio.model.recipes import Recipe, check_voices, near_names
from kokoro_trio.watched import WatchedJson, change_json_object, read_json_object
from kokoro_trio.weights.release import Release
from kokoro_trio.wire.limits import MAX_GOT_CHARS

FILE_NAME = "custom_voices.json"
ALIASES = ("female", "male")

Blends = Mapping[str, "Blend"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

log = structlog.get_logger()


@define
class BadVoiceName(KokoroTrioError):
    name: str
    reason: str

    def __str__(self) -> str:
        return f"a blend cannot be called {self.name!r}: {self.reason}"


@define
class VoiceExists(KokoroTrioError):
    name: str
    recipe: object

    def __str__(self) -> str:
        return f"there is a voice {self.name!r} already, {self.recipe!r}; --replace takes its place"


@define
class NoSuchCustomVoice(KokoroTrioError):
    name: str
    close_matches: list[str]

    def __str__(self) -> str:
        near = f"; did you mean {' or '.join(self.close_matches)}?" if self.close_matches else ""
        return f"there is no custom voice {self.name!r}{near}"


@frozen
class Blend:
    """A recipe with a name; `written`: the recipe in the words of who made it."""

    name: str
    recipe: Recipe
    written: str


@frozen
class LeftOut:
    """What stands in the file and cannot be spoken with."""

    name: str
    reason: str


@frozen
class CustomVoices:
    """The file, and what may be done to it. Reading and changing raise `DamagedFile` and OSError."""

    folder: Path
    base_voices: Collection[str]
    """The only ones that a recipe may mix, and that no blend may be called."""

    @property
    def path(self) -> Path:
        return self.folder / FILE_NAME

    def read(self) -> dict[str, Any]:
        """All that stands in the file, by name: recipes, and whatever else somebody wrote there."""
        return read_json_object(self.path)

    def add(self, name: str, recipe: str, *, validate: bool = False, replace: bool = False) -> None:
        """With `validate` the voices of the recipe must be known here too.

        Raises `BadVoiceName`, `VoiceExists` unless `replace`, `NotMixable`, `MalformedRecipe`, and
        `FileBusy`.
        """
        check_name(name, self.base_voices)
        parsed = Recipe.parse(recipe)
        if validate:
            check_voices(parsed, self.base_voices)

        def put(entries: dict[str, Any]) -> None:
            if name in entries and not replace:
                raise VoiceExists(name, entries[name])
            entries[name] = recipe

        change_json_object(self.path, put)

    def remove(self, name: str) -> None:
        """Raises `NoSuchCustomVoice` and `FileBusy`."""

        def take(entries: dict[str, Any]) -> None:
            if name not in entries:
                raise NoSuchCustomVoice(name, near_names(name, entries))
            del entries[name]

        change_json_object(self.path, take)

    def watch(self) -> WatchedJson[Blends]:
        """The usable blends by name, whenever they are asked for; the log tells which are left out."""

        def parse(entries: Mapping[str, Any]) -> Blends:
            blends, left_out = usable_blends(entries, self.base_voices)
            for each in left_out:
                log.error("custom_voice_left_out", name=each.name, reason=each.reason)
            return blends

        return WatchedJson(self.path, parse)


def usable_blends(entries: Mapping[str, Any], base_voices: Collection[str]) -> tuple[Blends, list[LeftOut]]:
    blends: dict[str, Blend] = {}
    left_out: list[LeftOut] = []
    for name, written in entries.items():
        try:
            blends[name] = _blend(name, written, base_voices)
        except (BadVoiceName, UnknownVoice) as error:
            left_out.append(LeftOut(name, str(error)))
    return blends, left_out


def _blend(name: str, written: object, base_voices: Collection[str]) -> Blend:
    check_name(name, base_voices)
    if not isinstance(written, str):
        raise MalformedRecipe(got=str(written)[:MAX_GOT_CHARS], close_matches=[], reason="it is no text")
    recipe = Recipe.parse(written)
    check_voices(recipe, base_voices)
    return Blend(name, recipe, written)


def check_name(name: str, base_voices: Collection[str]) -> None:
    """Raises `BadVoiceName`."""
    if not _NAME.fullmatch(name):
        raise BadVoiceName(name, "a name has 1 to 64 letters, digits, _ and -")
    if name in base_voices or name in ALIASES:
        raise BadVoiceName(name, "that is the name of another voice")


def released_voices() -> tuple[str, ...]:
    """The voices that Kokoro-82M v1.0 was published with, whether or not its weights are here."""
    return tuple(sorted(Release.load().hub.voices))
