"""The table of the licenses of installed packages in scripts/README.md; as a program it writes the table."""

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageMetadata, distribution

from av._core import library_meta

from kokoro_trio.config import REPOSITORY
from tests.support.packages import required_by

PAGE = REPOSITORY / "scripts" / "README.md"
EXTRAS = ("server", "registry", "ja", "zh")
"""What `scripts/setup.sh` can install for the server; not what only tests and benches need."""
NVIDIA = ("nvidia-", "cuda-")
"""Packages that only a torch for CUDA brings. The page names them in a sentence."""
GPL_LIBRARIES = {"libx264": "GPL version 2 or later", "libx265": "GPL version 2 or later"}
"""As their sources say: the libraries do not."""

_SECTION = re.compile(
    r"(?<=<!-- licenses: written by `python -m tests.support.licenses` -->\n).*?(?=<!-- end of licenses -->)",
    re.DOTALL,
)
_PERMISSIVE = re.compile(r"\b(0BSD|Apache|BSD|BSL|CC0|CNRI-Python|ISC|LLVM|MIT|PSF|Zlib)\b")
_JOINED = re.compile(r" (?:AND|OR|WITH|-or-) |, ")


def installed() -> list[Distribution]:
    """All packages that the server and its extras require."""
    return required_by(distribution("kokoro-trio"), EXTRAS, NVIDIA)


def license_of(metadata: PackageMetadata) -> str:
    """The expression, the short name or the classifiers, whichever the package has first."""
    stated = [*metadata.get_all("License-Expression", []), *metadata.get_all("License", [])]
    names = [name for name in stated if name != "UNKNOWN" and len(name.splitlines()) == 1]
    classifiers = [name for name in metadata.get_all("Classifier", []) if name.startswith("License :: ")]
    return next(iter(names), ", ".join(name.split(" :: ")[-1] for name in classifiers))


def is_permissive(name: str) -> bool:
    """Every license in it is."""
    return all(_PERMISSIVE.search(part) for part in _JOINED.split(name))


def table() -> str:
    rows = [(f"`{package.name}`", license_of(package.metadata)) for package in installed()]
    rows = [(name, terms or "not stated") for name, terms in rows if not is_permissive(terms)]
    lines = [f"| {name} | {terms} |" for name, terms in [*rows, *_in_av()]]
    return "\n".join(["| package | license, as it states it |", "|---|---|", *lines, ""])


def _in_av() -> Iterator[tuple[str, str]]:
    """`av` itself is under a BSD license. Its wheels carry libraries that are not."""
    yield "FFmpeg, in `av`", library_meta["libavcodec"]["license"]
    carried = {file.name.split("-")[0] for file in distribution("av").files or ()}
    for library in sorted(carried & GPL_LIBRARIES.keys()):
        yield f"{library}, in `av`", GPL_LIBRARIES[library]


def documented() -> str:
    (section,) = _SECTION.findall(PAGE.read_text(encoding="utf-8"))
    return str(section)


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_SECTION.sub(lambda _: table(), text), encoding="utf-8")


if __name__ == "__main__":
    main()
