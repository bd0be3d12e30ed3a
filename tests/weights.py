"""The weights that the tests use: those of the registry, whichever weights the server here has."""

from kokoro_trio.config import REPOSITORY

TEST_WEIGHTS = REPOSITORY / "weights-test"
"""Prepared by `bash scripts/setup.sh --test`. The statistics are fitted on these weights, and the export that
they were converted from is kept beside them."""
