"""Property: any text ends in audio or in one clear error. The real text side with tones as audio."""

import trio
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st

from kokoro_trio.config import EngineConfig
from kokoro_trio.engine.engine import Engine
from kokoro_trio.errors import RequestError
from kokoro_trio.model.synthesizer import ToneSynthesizer
from kokoro_trio.speech import Utterance, WordTime
from kokoro_trio.text.g2p import GraphemeToPhoneme
from kokoro_trio.text.languages import LANGUAGES
from tests.support.models import ALPHABET, InLoopInference, Speller

WRITTEN = [
    *(
        "Hello",
        "Dr.",
        "$3.50",
        "5 p.m.",
        "**bold**",
        "\n- ",
        "\n\n",
        "[pause:0.1s]",
        "[Groq](/ɡɹˈɑk/)",
        "1. ",
    ),
    *("https://a.b/c?d=e", "```", "—", "😀", "नमस्ते", "你好。", "\x00", "ＡＢ", "e\u0301", "…", "’", "]("),
]


async def speak(g2p: GraphemeToPhoneme, utterance: Utterance) -> tuple[float, list[WordTime]] | str:
    """Returns the seconds of audio and all words with their times, or the code of the error."""
    inference = InLoopInference(ToneSynthesizer(alphabet=ALPHABET, max_batch=4))
    engine = Engine(EngineConfig(4, 8), inference, Speller(g2p.segments))
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        try:
            return await listen(engine, utterance)
        except RequestError as error:
            return error.code
        finally:
            nursery.cancel_scope.cancel()


async def listen(engine: Engine, utterance: Utterance) -> tuple[float, list[WordTime]]:
    words: list[WordTime] = []
    async with engine.open(utterance, "s") as stream:
        seconds = sum([piece.seconds async for piece in stream])
        while stream.words.statistics().current_buffer_used:
            words += stream.words.receive_nowait()
    return seconds, words


TEXTS = st.text() | st.lists(st.sampled_from(WRITTEN) | st.text(max_size=4), max_size=12).map(" ".join)


@given(TEXTS, st.sampled_from(list(LANGUAGES)))
@example("[pause:11s] Hello", "a")
@example("...", "a")
@example("x" * 3_000, "a")
@example("word " * 500, "e")
def test_any_text_ends_in_audio_or_in_one_error(g2p: GraphemeToPhoneme, text: str, language: str) -> None:
    utterance = Utterance(text, f"{language}f_tone", language=language)
    outcome = trio.run(speak, g2p, utterance, clock=trio.testing.MockClock(autojump_threshold=0))
    if isinstance(outcome, str):
        assert outcome in ("unpronounceable", "bad_text")
        return
    seconds, words = outcome
    assert seconds > 0
    times = [bound for word in words for bound in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= seconds
    assert all(0 <= word.start_char < word.end_char <= len(text) for word in words)
    starts = [word.start_char for word in words]
    assert starts == sorted(starts)
