"""Unit: scripts/README.md names every installed package that is not under a permissive license."""

import pytest

from tests.support.licenses import documented, installed, is_permissive, table


def test_table_of_licenses_matches_installed_packages() -> None:
    assert documented() == table(), "`python -m tests.support.licenses` writes it anew"


def test_packages_of_packages_and_of_extras_count_and_tools_do_not() -> None:
    names = {package.name.lower() for package in installed()}
    assert {"num2words", "phonemizer-fork", "espeakng-loader", "onnx", "unidic-lite", "proces"} <= names
    assert not {"pytest", "mypy", "pipecat-ai", "kokoro-trio"} & names


@pytest.mark.parametrize(
    ("license", "permissive"),
    [
        ("MIT", True),
        ("Apache-2.0 OR BSD-2-Clause", True),
        ("3-Clause BSD License", True),
        ("Apache-2.0 AND CNRI-Python", True),
        ("MPL-2.0 AND MIT", False),
        ("LGPL-2.1-or-later", False),
        ("GNU General Public License v3 or later (GPLv3+)", False),
        ("LicenseRef-NVIDIA-Proprietary", False),
        ("", False),
    ],
)
def test_permissive_licenses(license: str, permissive: bool) -> None:
    assert is_permissive(license) is permissive
