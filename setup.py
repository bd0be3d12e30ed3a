"""Finds the packages of the wheel and renames bench to kokoro_trio.bench, which pyproject.toml cannot do."""

from setuptools import find_packages, setup

bench = find_packages(include=["bench*"], exclude=["bench.research"])
setup(
    packages=[*find_packages(include=["kokoro_trio*"]), *(f"kokoro_trio.{name}" for name in bench)],
    package_dir={"kokoro_trio.bench": "bench"},
)
