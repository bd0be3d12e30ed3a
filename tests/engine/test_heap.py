"""What the process's heap is trimmed for, and that trimming it does something."""

import platform

import pytest

from kokoro_trio.engine.heap import MAX_GROWTH_BYTES, MIN_GROWTH_BYTES, MIN_INTERVAL_S, REST_S, Heap
from kokoro_trio.engine.heap import resident_bytes as bytes_of_this_process
from tests.support.models import MB, ScriptedMemory


def trimmed() -> tuple[Heap, ScriptedMemory]:
    memory = ScriptedMemory()
    heap = memory.heap()
    heap.trim()
    return heap, memory


def test_nothing_is_due_before_something_has_grown() -> None:
    heap, memory = trimmed()
    memory.now_s += 10 * MIN_INTERVAL_S
    memory.resident_bytes += MIN_GROWTH_BYTES - 1
    assert heap.rest_s() is None


def test_at_rest_once_in_a_while() -> None:
    heap, memory = trimmed()
    memory.resident_bytes += MIN_GROWTH_BYTES
    memory.now_s += 20
    assert heap.rest_s() == MIN_INTERVAL_S - 20
    memory.now_s += 300
    assert heap.rest_s() == REST_S, "a step ends: the next may be about to come"
    heap.trim()
    assert heap.rest_s() is None


def test_without_rest_when_it_is_too_much() -> None:
    heap, memory = trimmed()
    memory.resident_bytes += MAX_GROWTH_BYTES
    heap.trim_if_large()
    assert memory.n_trimmed == 1
    memory.resident_bytes += 1
    heap.trim_if_large()
    assert (memory.n_trimmed, memory.resident_bytes) == (2, memory.needed_bytes)


def test_what_is_needed_is_not_asked_for_again_and_again() -> None:
    heap, memory = trimmed()
    memory.needed_bytes += 3 * MAX_GROWTH_BYTES
    memory.resident_bytes = memory.needed_bytes
    for _ in range(3):
        heap.trim_if_large()
    assert memory.n_trimmed == 2
    assert heap.rest_s() is None


def test_without_the_means_it_is_left_alone() -> None:
    def unknown() -> int:
        raise FileNotFoundError

    heap = Heap(None, unknown)
    heap.trim()
    heap.trim_if_large()
    assert heap.rest_s() is None


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_the_real_one_gives_back_what_was_freed() -> None:
    # Small enough to lie in the heap, with what stays among them, so that it cannot shrink by itself.
    blocks = [bytearray(100_000) for _ in range(2000)]
    kept = blocks[::20]
    del blocks
    before = bytes_of_this_process()
    Heap().trim()
    assert bytes_of_this_process() < before - 150 * MB
    assert len(kept) == 100
