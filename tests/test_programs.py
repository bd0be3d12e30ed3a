"""Unit: when a test that needs a program is skipped, and when it fails."""

import pytest

from tests.support import programs
from tests.support.programs import Program, lack_of, skip_or_fail


@pytest.mark.parametrize(
    ("program", "required", "outcome"),
    [
        (Program(("no-such-program",), "some-package"), "", pytest.skip.Exception),
        (Program(("no-such-program",), "some-package"), "1", pytest.fail.Exception),
        (Program(("sh",), "dash", lambda: False), "", pytest.skip.Exception),
        (Program(("sh",), "dash", lambda: False), "1", pytest.fail.Exception),
    ],
)
def test_missing_program_skips_or_fails_the_test(
    program: Program, required: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "PROGRAMS", {"it": program})
    monkeypatch.setenv("REQUIRE_PROGRAMS", required)
    lacking = lack_of("it")
    assert lacking is not None
    with pytest.raises(outcome, match=r"^it "):
        skip_or_fail(lacking)


def test_installed_program_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PROGRAMS", {"it": Program(("no-such-program", "sh"), "dash")})
    assert lack_of("it") is None
