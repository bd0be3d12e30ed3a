"""Speaks one text and says how fast the server was.

    python scripts/client.py --text "Hello there." --out hello.wav
    python scripts/client.py --text "Hello there." --words
    echo "Hello there." | python scripts/client.py --voice male

Without --out it only measures. Where to connect comes from the environment or .env; see --help.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import trio
from numpy.typing import NDArray

from kokoro_trio.client import ClientError, Timing, connect_with, connection_options, save_wav
from kokoro_trio.errors import BadKnob
from kokoro_trio.server.messages import SpokenWord


def main() -> None:
    try:
        options = _command_line().parse_args()
        text = _read_standard_input() if options.text in (None, "-") else options.text
        samples, timing, words = trio.run(speak, options, text)
        if options.out is not None:
            save_wav(options.out, samples)
    except (BadKnob, ClientError, OSError, UnicodeDecodeError) as error:
        sys.exit(f"error: {error}")
    for word in words:
        print(f"{word.start_s:8.3f} {word.end_s:8.3f}  {word.text}")
    print(timing if options.out is None else f"{options.out}: {timing}")


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Speaks one text and says how fast the server was.", parents=[connection_options()]
    )
    parser.add_argument("--text", help="what to say; without it, or with -, it is read from standard input")
    parser.add_argument("--voice", help="female, male, a voice, or a recipe of voices (default: female)")
    parser.add_argument("--language", help="en-gb, es, fr … (default: that of the voice)")
    parser.add_argument("--speed", type=float, help="0.5 to 2.0 (default: 1.0)")
    parser.add_argument("--out", type=Path, metavar="FILE.wav", help="where the audio goes")
    parser.add_argument("--words", action="store_true", help="print when each word is heard, in seconds")
    return parser


def _read_standard_input() -> str:
    # As UTF-8 whatever the locale says: in the C locale Python would hand over half of it as surrogates.
    return sys.stdin.buffer.read().decode("utf-8")


async def speak(options: argparse.Namespace, text: str) -> tuple[NDArray[np.int16], Timing, list[SpokenWord]]:
    async with connect_with(options) as session:
        if options.words:
            await session.start(timestamps=True)
        async with session.speak(
            text, voice=options.voice, speed=options.speed, language=options.language
        ) as speech:
            return await speech.read_all(), speech.timing, speech.words


if __name__ == "__main__":
    main()
