"""Options, markers and fixtures of all tests."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from kokoro_trio.config import WindowConfig
from kokoro_trio.text.g2p import GraphemeToPhoneme
from kokoro_trio.weights.prepared import is_prepared
from tests.support.environment import TEST_WEIGHTS, forget_settings
from tests.support.models import ALPHABET, InLoopInference
from tests.support.programs import lack_of, skip_or_fail

if TYPE_CHECKING:
    from kokoro_trio.model.kokoro import KokoroSynthesizer

# The time for an example depends on the machine's load.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
DEFAULT_EXAMPLES = settings().max_examples


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz",
        type=int,
        default=1,
        metavar="N",
        help="run N times as many generated examples",
    )


def pytest_configure(config: pytest.Config) -> None:
    data_folder = TemporaryDirectory()
    config.add_cleanup(data_folder.cleanup)
    forget_settings(data_folder.name)
    if (factor := config.getoption("--fuzz")) > 1:
        settings.register_profile("long", max_examples=DEFAULT_EXAMPLES * factor)
        settings.load_profile("long")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("model") and not is_prepared(TEST_WEIGHTS):
        pytest.fail(f"{TEST_WEIGHTS} has no prepared weights; run: bash scripts/setup.sh --test", False)
    for mark in item.iter_markers("needs"):
        if (lacking := lack_of(*mark.args)) is not None:
            skip_or_fail(lacking)


@pytest.fixture
def fuzz_factor(request: pytest.FixtureRequest) -> int:
    factor: int = request.config.getoption("--fuzz")
    return factor


@pytest.fixture(scope="session")
def g2p() -> GraphemeToPhoneme:
    """The real grapheme-to-phoneme converter with misaki, spaCy, espeak and the extras."""
    loaded = GraphemeToPhoneme(ALPHABET)
    loaded.warm_up()
    return loaded


@pytest.fixture(scope="session")
def exact_kokoro() -> "KokoroSynthesizer":
    """The real model with whole segments and without their leading silence."""
    import torch

    from kokoro_trio.model.kokoro import KokoroSynthesizer
    from kokoro_trio.weights.prepared import open_weights

    whole = WindowConfig(first_max_words=0, first_boundaries="", trims_leading_silence=True)
    return KokoroSynthesizer(open_weights(TEST_WEIGHTS), torch.device("cpu"), whole, predictor=None)


@pytest.fixture
def open_tmp_path() -> Iterator[Path]:
    """Like tmp_path, but other users may enter it."""
    with TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.fixture
def in_loop() -> InLoopInference:
    return InLoopInference()
