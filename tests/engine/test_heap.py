"""Unit: when the heap is trimmed, with scripted memory; and once the real malloc_trim."""

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


def test_no_trim_below_min_growth() -> None:
    heap, memory = trimmed()
    memory.now_s += 10 * MIN_INTERVAL_S
    memory.resident_bytes += MIN_GROWTH_BYTES - 1
    assert heap.rest_s() is None


def test_idle_trim_waits_for_min_interval_and_rest() -> None:
    heap, memory = trimmed()
    memory.resident_bytes += MIN_GROWTH_BYTES
    memory.now_s += 20
    assert heap.rest_s() == MIN_INTERVAL_S - 20
    memory.now_s += 300
    assert heap.rest_s() == REST_S, "the next step may follow at once"
    heap.trim()
    assert heap.rest_s() is None


def test_trim_above_max_growth_without_rest() -> None:
    heap, memory = trimmed()
    memory.resident_bytes += MAX_GROWTH_BYTES
    heap.trim_if_large()
    assert memory.n_trimmed == 1
    memory.resident_bytes += 1
    heap.trim_if_large()
    assert (memory.n_trimmed, memory.resident_bytes) == (2, memory.needed_bytes)


def test_memory_in_use_is_not_trimmed_repeatedly() -> None:
    heap, memory = trimmed()
    memory.needed_bytes += 3 * MAX_GROWTH_BYTES
    memory.resident_bytes = memory.needed_bytes
    for _ in range(3):
        heap.trim_if_large()
    assert memory.n_trimmed == 2
    assert heap.rest_s() is None


def test_nothing_happens_without_malloc_trim() -> None:
    def unknown() -> int:
        raise FileNotFoundError

    heap = Heap(None, unknown)
    heap.trim()
    heap.trim_if_large()
    assert heap.rest_s() is None


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_malloc_trim_returns_freed_memory() -> None:
    # Small enough to lie in the heap. The kept blocks among them prevent it from shrinking by itself.
    blocks = [bytearray(100_000) for _ in range(2000)]
    kept = blocks[::20]
    del blocks
    before = bytes_of_this_process()
    Heap().trim()
    assert bytes_of_this_process() < before - 150 * MB
    assert len(kept) == 100
