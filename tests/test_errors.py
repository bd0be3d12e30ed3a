"""Pure: messages of errors, and their way from a worker process."""

import gc
import pickle
from string import Formatter

import pytest
from attrs import fields, has
from tblib import pickling_support

from kokoro_trio.errors import KokoroTrioError

gc.collect()  # attrs has replaced each class, and the replaced ones are subclasses, too.


def subclasses(cls: type[KokoroTrioError]) -> list[type[KokoroTrioError]]:
    return [below for child in cls.__subclasses__() for below in [child, *subclasses(child)]]


def names_of(cls: type[KokoroTrioError]) -> list[str]:
    return [field.name for field in fields(cls)] if has(cls) else []


@pytest.mark.parametrize("cls", subclasses(KokoroTrioError), ids=lambda cls: cls.__name__)
def test_every_error_survives_pickling(cls: type[KokoroTrioError]) -> None:
    names = names_of(cls)
    error = cls(*(f"the {name}" for name in names))
    pickling_support.install(error)  # trio_parallel does so in its workers.
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is cls
    assert [getattr(back, name) for name in names] == [f"the {name}" for name in names]


@pytest.mark.parametrize("cls", subclasses(KokoroTrioError), ids=lambda cls: cls.__name__)
def test_text_of_an_error_contains_only_its_attributes(cls: type[KokoroTrioError]) -> None:
    text = getattr(cls, "text", "")
    assert {name for _, name, _, _ in Formatter().parse(text) if name} <= set(names_of(cls))
