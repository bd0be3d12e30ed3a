"""Session and end to end: short sentences beside long texts, of scripted servers and our own with tones."""

import pytest
import trio

from bench.fairness import LongListeners, measure
from tests.support.benches import options
from tests.support.peers import Peer, serving, talking

LONG = "A long text."


@pytest.mark.slow
async def test_underrun_at_the_cancel_counts() -> None:
    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.speak((await peer.hear("speak"))["request_id"], 1)
        speak = await peer.hear("speak")
        await peer.say("started_speak", request_id=speak["request_id"])
        await peer.play(1)
        await trio.sleep_forever()

    began_at = trio.current_time()
    listeners = LongListeners(LONG, voice=None)
    async with talking(script) as session:
        with trio.move_on_after(1.0):
            await listeners.listen(session, trio.Event())
    summary = listeners.summed_up(n_listeners=1)
    # The third text has 20 ms of audio; the underrun after it lasts until the cancel.
    assert (summary.n_begun, summary.errors, summary.n_underruns) == (3, {}, 1)
    assert 0.2 < summary.longest_gap_s < trio.current_time() - began_at


@pytest.mark.parametrize("begins", [True, False])
async def test_error_of_a_long_text_fails_the_run(begins: bool) -> None:
    async def script(peer: Peer) -> None:
        while True:
            speak = await peer.hear("speak")
            if speak["text"] == LONG:
                if begins:
                    await peer.say("started_speak", request_id=speak["request_id"])
                    await peer.play(1)
                await peer.say("error", request_id=speak["request_id"], code="too_long", message="")
            else:
                await peer.speak(speak["request_id"], 1)

    async with serving(script) as port:
        with trio.fail_after(20):
            result = await measure(options(port, "--fairness", "--n", "1"), ["One."], LONG)
    assert result.long.errors == {"too_long": 1}
    assert result.has_failed
