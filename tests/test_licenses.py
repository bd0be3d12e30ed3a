"""Unit: the README names every installed package that is not under a permissive license."""

import pytest

from tests.support.licenses import in_readme, installed, is_permissive, table


def test_the_table_in_the_readme_is_what_is_installed() -> None:
    assert in_readme() == table(), "`python -m tests.support.licenses` writes it anew"


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
