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

# How fast an example is made says something about the machine's neighbours, nothing about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
DEFAULT_EXAMPLES = settings().max_examples


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz",
        type=int,
        default=1,
        metavar="N",
        help="N times as many of the tests that are drawn by chance",
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
        pytest.fail(f"{TEST_WEIGHTS} is not prepared; to mend it run: bash scripts/setup.sh --test", False)
    for mark in item.iter_markers("needs"):
        if (lacking := lack_of(*mark.args)) is not None:
            skip_or_fail(lacking)


@pytest.fixture
def fuzz_factor(request: pytest.FixtureRequest) -> int:
    factor: int = request.config.getoption("--fuzz")
    return factor


@pytest.fixture(scope="session")
def g2p() -> GraphemeToPhoneme:
    """The real one: misaki, spaCy, espeak and the extras."""
    loaded = GraphemeToPhoneme(ALPHABET)
    loaded.warm_up()
    return loaded


@pytest.fixture(scope="session")
def exact_kokoro() -> "KokoroSynthesizer":
    """The real one, a window a segment, with the silence before it left out."""
    import torch

    from kokoro_trio.model.kokoro import KokoroSynthesizer
    from kokoro_trio.weights.prepared import open_weights

    whole = WindowConfig(first_max_words=0, first_boundaries="", trims_leading_silence=True)
    return KokoroSynthesizer(open_weights(TEST_WEIGHTS), torch.device("cpu"), whole, predictor=None)


@pytest.fixture
def open_tmp_path() -> Iterator[Path]:
    """As tmp_path, but one that others may enter."""
    with TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.fixture
def in_loop() -> InLoopInference:
    return InLoopInference()
