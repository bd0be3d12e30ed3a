"""The packages of the wheel: unlike pyproject.toml, this can find them and add bench as kokoro_trio.bench."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["kokoro_trio*"]), "kokoro_trio.bench", "kokoro_trio.bench.peers"],
    package_dir={"kokoro_trio.bench": "bench"},
)
