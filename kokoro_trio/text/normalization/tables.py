"""The tables of this package: tab-separated files with a header line, which need no Python to extend."""

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files


@cache
def rows(name: str) -> list[dict[str, str]]:
    lines = files(__package__).joinpath("tables", f"{name}.tsv").read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def symbols(locale: str) -> Mapping[str, str]:
    """Sign → words."""
    return {row["sign"]: row[locale] for row in rows("symbols") if row[locale]}


def abbreviations(locale: str) -> Mapping[str, str]:
    """Written form → words. A row lists all its written forms, separated by "|"."""
    return {
        written: row["spoken"]
        for row in rows(f"abbreviations.{locale}")
        for written in row["written"].split("|")
    }
