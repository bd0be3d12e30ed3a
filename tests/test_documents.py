"""Unit: the pages of documentation agree with each other and with the code."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from attrs import fields

from kokoro_trio.config import REPOSITORY
from kokoro_trio.errors import request_error_codes
from kokoro_trio.server.http import Readiness
from kokoro_trio.speech import SAMPLE_RATE_HZ
from kokoro_trio.wire import messages
from tests.support.processes import output_of
from tests.support.readme import FOLDERS, PAGES, blocks, snippet
from tests.support.servers import in_thread, running

README = REPOSITORY / "README.md"
PROTOCOL = (REPOSITORY / "kokoro_trio" / "server" / "README.md").read_text(encoding="utf-8")
OPERATIONS = (REPOSITORY / "scripts" / "README.md").read_text(encoding="utf-8")
MAX_README_LINES = 150

_CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)
_PROGRAM = re.compile(r"# (?P<name>[\w.]+\.(?:py|sh|conf))\b")
_FILE = re.compile(r"[\w./-]*\w\.(?:py|sh|yaml|cfg|service|safetensors)\b")


def anchors(page: Path) -> set[str]:
    """The fragments that GitHub gives the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = (found["title"].lower() for found in _HEADING.finditer(text))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def broken_links(page: Path) -> Iterator[str]:
    for found in _LINK.finditer(_CODE.sub("", page.read_text(encoding="utf-8"))):
        path, _, fragment = found["target"].partition("#")
        if re.match(r"\w+:", path):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (fragment and fragment not in anchors(target)):
            yield found["target"]


def paths() -> set[str]:
    found = (path for name in FOLDERS for path in (REPOSITORY / name).rglob("*") if path.is_file())
    return {f"/{path.relative_to(REPOSITORY)}" for path in found}


def program_names() -> set[str]:
    return {found["name"] for code in blocks() if (found := _PROGRAM.match(code))}


def test_readme_is_at_most_150_lines() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_relative_links_and_anchors_resolve(page: Path) -> None:
    assert list(broken_links(page)) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A title, here\n[a](#a-title-here) [b](#no) [c](no.md) [d](page.md) [e](page.md#x) `[f](no.md)`"
    )
    assert list(broken_links(page)) == ["#no", "no.md", "page.md#x"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_files_named_in_the_documentation_exist(page: Path) -> None:
    named = {
        found[0] for code in _CODE.findall(page.read_text(encoding="utf-8")) for found in _FILE.finditer(code)
    }
    known, programs = paths(), program_names()
    missing = {name for name in named - programs if not any(path.endswith(f"/{name}") for path in known)}
    assert {name for name in missing if not name.startswith((".venv/", "weights/"))} == set()


def test_every_documented_program_is_run_by_a_test() -> None:
    tests = "".join(
        path.read_text(encoding="utf-8")
        for path in (REPOSITORY / "tests").rglob("test_*.py")
        if "snippet(" in path.read_text(encoding="utf-8")
    )
    programs = program_names()
    assert len(programs) > 5
    assert {name for name in programs if name not in tests} == set()


def test_protocol_page_names_every_message_and_field() -> None:
    kinds = [
        *messages.ClientMessage.__args__,
        *messages.ServerMessage.__args__,
        messages.SpokenWord,
        Readiness,
    ]
    named = {field.name for kind in kinds for field in fields(kind)} - {"facts"}
    assert {name for name in named if f"`{name}`" not in PROTOCOL} == set()


def test_protocol_page_names_every_error_code() -> None:
    assert {code for code in request_error_codes() if f"\n| `{code}` |" not in PROTOCOL} == set()


async def test_operations_page_names_every_metric() -> None:
    async with running() as server:
        exposed = await in_thread(httpx.get, f"http://127.0.0.1:{server.port}/metrics")
    metrics = set(re.findall(r"^# TYPE (kokoro_\w+) ", exposed.text, re.MULTILINE))
    assert len(metrics) > 10
    assert {name for name in metrics if f"`{name}" not in OPERATIONS} == set()


def documented_defaults() -> Iterator[tuple[str, str]]:
    for names, values in re.findall(r"^\| (`[A-Z0-9_`, ]+`) \| (.+?) \| ", OPERATIONS, re.MULTILINE):
        knobs = names.replace("`", "").split(", ")
        defaults = values.replace("`", "").split(", ") if len(knobs) > 1 else [values.strip("`")]
        yield from zip(knobs, defaults, strict=True)


def defaults_in_code() -> Iterator[tuple[str, str]]:
    source = (REPOSITORY / "kokoro_trio" / "config.py").read_text(encoding="utf-8")
    reads = r'knobs\.(?:whole|number|flag|text)\(\s*"([A-Z0-9_]+)", ([\d._]+|"[^"]+"|True|False)'
    for knob, literal in re.findall(reads, source):
        value = ast.literal_eval(literal)
        yield knob, str(int(value) if isinstance(value, bool) else value)


def test_operations_page_states_the_defaults_of_the_code() -> None:
    documented, in_code = dict(documented_defaults()), dict(defaults_in_code())
    assert len(in_code) > 30
    assert {knob: documented[knob] for knob in in_code} == in_code


async def test_pipecat_service_of_the_readme_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOKORO_API_KEY", "first")
    program, here = snippet("# pipecat_tts.py"), "127.0.0.1:8000"
    assert here in program
    speak_once = """
import asyncio, json
from tests.support.pipecat_together import greet, in_pipeline
print(json.dumps(asyncio.run(in_pipeline(tts, greet))))
"""
    async with running() as server:
        program = program.replace(here, f"127.0.0.1:{server.port}")
        [turn] = json.loads(await in_thread(output_of, "-c", program + speak_once))
    (record,) = server.records
    assert turn["audio_bytes"] / 2 / SAMPLE_RATE_HZ == pytest.approx(record.audio_s, abs=0.01)
    assert turn["errors"] == []
