"""Reads Kokoro-82M as published on the Hugging Face hub: from the cache, the network, or a folder."""

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import huggingface_hub
import torch
from attrs import frozen
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars
from torch import Tensor

from kokoro_trio.weights.parameters import ParametersUnusable, complete_parameters
from kokoro_trio.weights.progress import Progress
from kokoro_trio.weights.release import (
    VOICE_SHAPE,
    HubPins,
    Origin,
    Release,
    SourceUnusable,
    SourceWeights,
    check_sha256,
    file_sha256,
)

MODEL = "kokoro-v1_0.pth"
CONFIG = "config.json"
CACHE = "the Hugging Face cache"
HUB = "the Hugging Face hub"
ANSWER_TIMEOUT_S = 3.0
TRAINED_IN_PARALLEL = "module."
"""torch's DataParallel prefixes parameter names with this."""
DOWNLOAD_ERRORS: tuple[type[BaseException], ...] = (OSError, HfHubHTTPError.__bases__[0])
"""An error in the middle of a download is an HTTP library's own. The second type is the root of its errors,
because huggingface_hub's versions use different libraries."""

Locate = Callable[[str], Path]
"""The local path of a file of the repository, by its name there. Raises `SourceUnusable`."""


@frozen
class Hub:
    """A hub and its cache. None means huggingface_hub's default, set by HF_ENDPOINT, HF_HOME and others."""

    endpoint: str | None = None
    cache: Path | None = None

    def read_cache(self, release: Release) -> SourceWeights:
        """Raises `SourceUnusable` unless all files are cached."""

        def locate(name: str) -> Path:
            try:
                return self._download(release.hub, name, local_files_only=True)
            except LocalEntryNotFoundError:
                raise SourceUnusable(CACHE, f"{name} is missing") from None

        return _read("hub", CACHE, release, _locate_all(CACHE, release.hub, locate))

    def read(self, release: Release, progress: Progress) -> SourceWeights:
        """Downloads the files that are not cached. Raises `SourceUnusable`."""
        pins = release.hub
        if constants.HF_HUB_OFFLINE:
            raise SourceUnusable(HUB, "HF_HUB_OFFLINE is set")
        require_answer(
            huggingface_hub.hf_hub_url(
                pins.repository, CONFIG, revision=pins.revision, endpoint=self.endpoint
            )
        )
        progress.say(f"Fetching {pins.repository} from {HUB}.")
        with progress.bar(pins.repository, len(pins.files), " files") as advance:

            def locate(name: str) -> Path:
                path = self._fetch(pins, name)
                advance(1)
                return path

            paths = _locate_all(HUB, pins, locate)
        return _read("hub", HUB, release, paths)

    def _fetch(self, pins: HubPins, name: str) -> Path:
        # The largest file has its own progress bar.
        enable_progress_bars() if name == MODEL else disable_progress_bars()
        try:
            path = self._download(pins, name)
            if file_sha256(path) != pins.files[name]:
                path = self._download(pins, name, force_download=True)  # The cached file is damaged.
        except DOWNLOAD_ERRORS as error:
            raise SourceUnusable(HUB, f"cannot download {name} ({_first_line(error)})") from error
        return path

    def _download(
        self, pins: HubPins, name: str, *, local_files_only: bool = False, force_download: bool = False
    ) -> Path:
        path = huggingface_hub.hf_hub_download(
            pins.repository,
            name,
            revision=pins.revision,
            endpoint=self.endpoint,
            cache_dir=self.cache,
            local_files_only=local_files_only,
            force_download=force_download,
        )
        return Path(path)


def read_folder(folder: Path, release: Release) -> SourceWeights:
    """Reads the hub's files from `folder`, where they have the same names. Raises `SourceUnusable`."""

    def locate(name: str) -> Path:
        if not (folder / name).is_file():
            raise SourceUnusable(str(folder), f"{name} is missing")
        return folder / name

    return _read("folder", str(folder), release, _locate_all(str(folder), release.hub, locate))


def require_answer(url: str) -> None:
    """Raises `SourceUnusable` within seconds if the hub is unreachable.

    huggingface_hub 2.4 always tries six times: for 23 s if the connection is refused or the name is unknown,
    and for six timeouts more if it hangs. Any HTTP or TLS answer passes here, even an error, because
    huggingface_hub may have a token or other certificates.
    """
    try:
        with urlopen(Request(url, method="HEAD"), timeout=ANSWER_TIMEOUT_S):
            pass
    except HTTPError as error:
        error.close()
    except OSError as error:
        reason = error.reason if isinstance(error, URLError) else error
        if not isinstance(reason, ssl.SSLError):
            raise SourceUnusable(HUB, f"unreachable ({reason})") from error


def _locate_all(where: str, hub: HubPins, locate: Locate) -> dict[str, Path]:
    """The path of each file. Raises `SourceUnusable` for the first that differs from the published one."""
    paths = {}
    for name, expected in hub.files.items():
        paths[name] = locate(name)
        check_sha256(where, name, file_sha256(paths[name]), expected)
    return paths


def _read(source: str, where: str, release: Release, paths: Mapping[str, Path]) -> SourceWeights:
    hub = release.hub
    try:
        model = complete_parameters(_load_model(paths[MODEL]), release.shapes)
    except ParametersUnusable as error:
        raise SourceUnusable(where, f"{MODEL} belongs to another model: {error}") from error
    return SourceWeights(
        source=source,
        model=model,
        model_origin=_origin(hub, MODEL),
        voices={voice: _load_voice(paths[name]) for voice, name in hub.voices.items()},
        voices_origin=_origin(hub, *hub.voices.values()),
    )


def _load_model(path: Path) -> dict[str, Tensor]:
    """Joins the state dicts of KModel's five parts, which the file holds apart."""
    parts = torch.load(path, map_location="cpu", weights_only=True)
    return {
        f"{part}.{name.removeprefix(TRAINED_IN_PARALLEL)}": tensor
        for part, state in parts.items()
        for name, tensor in state.items()
    }


def _load_voice(path: Path) -> Tensor:
    pack: Tensor = torch.load(path, map_location="cpu", weights_only=True)
    return pack.to(torch.float32).reshape(VOICE_SHAPE)


def _origin(hub: HubPins, *names: str) -> Origin:
    home = f"Hugging Face {hub.repository} at {hub.revision}"
    return Origin(hub.license, tuple(f"{home}: {name}" for name in names))


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
