"""The event loops: timers in order, events in order, threads wake the real one, the virtual one jumps."""

import os
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_core import events as ev

LOOPS = [ev.RealEventLoop, ev.VirtualEventLoop]


@pytest.fixture
def real() -> Iterator[ev.RealEventLoop]:
    loop = ev.RealEventLoop()
    yield loop
    loop.close()


@given(st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), max_size=30))
def test_timers_run_in_order_of_time_and_then_of_making_and_cancelled_ones_never(
    timers: list[tuple[float, bool]],
) -> None:
    loop = ev.VirtualEventLoop()
    ran: list[tuple[float, int]] = []
    for number, (when, cancelled) in enumerate(timers):

        def callback(number: int = number, when: float = when) -> None:
            assert loop.now() == when
            ran.append((when, number))

        timer = loop.call_at(when, callback)
        if cancelled:
            timer.cancel()
    assert loop.next_events(2e6) == ()
    assert loop.now() == 2e6
    assert ran == sorted((when, number) for number, (when, cancelled) in enumerate(timers) if not cancelled)


@pytest.mark.parametrize("kind", LOOPS)
def test_events_come_in_order_of_posting_all_at_once(kind: type[ev.EventLoop]) -> None:
    loop = kind()
    posted = [ev.Ended((n, 1), 0) for n in range(5)]
    for event in posted:
        loop.post(event)
    assert list(loop.next_events()) == posted
    assert loop.next_events(loop.now()) == ()
    loop.close()


@pytest.mark.parametrize("kind", LOOPS)
def test_a_timer_may_post_and_make_and_cancel_timers(kind: type[ev.EventLoop]) -> None:
    loop = kind()
    never = loop.call_later(0.02, lambda: loop.post(ev.AllocationNotice("never")))

    def first() -> None:
        never.cancel()
        loop.call_later(0.005, lambda: loop.post(ev.Wake()))

    timer = loop.call_later(0.005, first)
    assert list(loop.next_events()) == [ev.Wake()]
    assert loop.next_events(loop.now() + 0.03) == ()
    timer.cancel()  # harmless after it ran
    loop.close()


def test_a_post_from_a_thread_wakes_the_loop_at_once(real: ev.RealEventLoop) -> None:
    threading.Timer(0.05, lambda: real.post(ev.Wake())).start()
    before = time.monotonic()
    assert list(real.next_events(real.now() + 10)) == [ev.Wake()]
    assert time.monotonic() - before < 5


def test_many_threads_lose_no_event_and_keep_each_ones_order(real: ev.RealEventLoop) -> None:
    def post(who: int) -> None:
        for number in range(500):
            real.post(ev.Ended((who, number)))

    threads = [threading.Thread(target=post, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    got: list[ev.Key] = []
    deadline = real.now() + 10
    while len(got) < 2000 and real.now() < deadline:
        got += [event.key for event in real.next_events(deadline) if isinstance(event, ev.Ended)]
    for thread in threads:
        thread.join()
    for who in range(4):
        assert [key[1] for key in got if key[0] == who] == list(range(500))


def test_a_descriptor_is_watched_until_it_is_unwatched(real: ev.RealEventLoop) -> None:
    read_end, write_end = os.pipe()
    seen: list[bytes] = []

    def readable() -> None:
        seen.append(os.read(read_end, 10))
        real.post(ev.Wake())

    real.watch(read_end, readable)
    os.write(write_end, b"one")
    assert list(real.next_events(real.now() + 10)) == [ev.Wake()]
    real.unwatch(read_end)
    os.write(write_end, b"two")
    assert real.next_events(real.now() + 0.02) == ()
    assert seen == [b"one"]
    os.close(read_end)
    os.close(write_end)


def test_waiting_ends_at_the_stated_time_and_costs_no_processor_time(real: ev.RealEventLoop) -> None:
    cpu, start = time.process_time(), real.now()
    assert real.next_events(start + 0.2) == ()
    assert 0.2 <= real.now() - start < 5
    assert time.process_time() - cpu < 0.1


def test_a_late_post_to_a_closed_loop_writes_nowhere() -> None:
    loop = ev.RealEventLoop()
    loop.close()
    reused, other = os.pipe()  # these take the numbers of the closed descriptors
    os.set_blocking(reused, False)
    thread = threading.Thread(target=loop.post, args=(ev.Wake(),))
    thread.start()
    thread.join()
    with pytest.raises(BlockingIOError):
        os.read(reused, 1)
    os.close(reused)
    os.close(other)


def test_the_virtual_loop_jumps() -> None:
    loop = ev.VirtualEventLoop()
    loop.call_later(86_400.0, lambda: loop.post(ev.Wake()))
    before = time.monotonic()
    assert list(loop.next_events()) == [ev.Wake()]
    assert loop.now() == 86_400.0
    assert time.monotonic() - before < 1


def test_the_virtual_loop_refuses_to_hang() -> None:
    loop = ev.VirtualEventLoop()
    loop.call_later(1.0, lambda: None).cancel()
    with pytest.raises(RuntimeError, match="nothing will ever happen"):
        loop.next_events()
    with pytest.raises(RuntimeError, match="nothing real"):
        loop.watch(0, lambda: None)
