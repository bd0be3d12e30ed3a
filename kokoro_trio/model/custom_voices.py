"""The voice blends that users named: a JSON file of names and recipes, shared by a script and the server."""

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
        return f"invalid name {self.name!r} for a blend: {self.reason}"


@define
class VoiceExists(KokoroTrioError):
    name: str
    recipe: object

    def __str__(self) -> str:
        return f"the voice {self.name!r} exists already, {self.recipe!r}; use --replace to overwrite it"


@define
class NoSuchCustomVoice(KokoroTrioError):
    name: str
    close_matches: list[str]

    def __str__(self) -> str:
        near = f"; did you mean {' or '.join(self.close_matches)}?" if self.close_matches else ""
        return f"no custom voice {self.name!r}{near}"


@frozen
class Blend:
    """A recipe with a name. `written` is the recipe as the user wrote it."""

    name: str
    recipe: Recipe
    written: str


@frozen
class LeftOut:
    """An entry of the file that the server cannot use."""

    name: str
    reason: str


@frozen
class CustomVoices:
    """Reads and changes the file. All methods may raise `DamagedFile` and OSError."""

    folder: Path
    base_voices: Collection[str]
    """The voices that a recipe may mix. A blend may not have the name of one."""

    @property
    def path(self) -> Path:
        return self.folder / FILE_NAME

    def read(self) -> dict[str, Any]:
        """All entries of the file by name, also those that are not valid recipes."""
        return read_json_object(self.path)

    def add(self, name: str, recipe: str, *, validate: bool = False, replace: bool = False) -> None:
        """Adds a blend. `validate` also checks that `base_voices` has the voices of the recipe.

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
        """The current usable blends by name. Unusable entries are logged and ignored."""

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
        raise MalformedRecipe(got=str(written)[:MAX_GOT_CHARS], close_matches=[], reason="it is not a string")
    recipe = Recipe.parse(written)
    check_voices(recipe, base_voices)
    return Blend(name, recipe, written)


def check_name(name: str, base_voices: Collection[str]) -> None:
    """Raises `BadVoiceName`."""
    if not _NAME.fullmatch(name):
        raise BadVoiceName(name, "a name has 1 to 64 letters, digits, _ or -")
    if name in base_voices or name in ALIASES:
        raise BadVoiceName(name, "another voice has this name")


def released_voices() -> tuple[str, ...]:
    """The voices of Kokoro-82M v1.0. Needs no weights."""
    return tuple(sorted(Release.load().hub.voices))
