"""Sends one text to a server, saves the audio and prints how fast the server was.

    kokoro-trio speak --text "Hello there." --out hello.wav
    kokoro-trio speak --text "Hello there." --format opus --out hello.ogg
    kokoro-trio speak --text "Hello there." --words
    echo "Hello there." | kokoro-trio speak --voice male

Without --out it only measures. The environment or .env says where to connect; see --help.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import trio
from numpy.typing import NDArray

from kokoro_trio.client import ClientError, Speech, connect_with, connection_options, save_wav
from kokoro_trio.errors import StartError

DEFAULT_RATES_HZ = {"mulaw": 8000}
"""For formats whose best rate is not the default of a session."""
OGG_SUFFIXES = {".ogg", ".opus"}


def main() -> None:
    try:
        parser = _command_line()
        options = parser.parse_args()
        if options.out is not None and options.out.suffix in OGG_SUFFIXES and options.format != "opus":
            parser.error(f"--out {options.out} needs --format opus")
        text = _read_standard_input() if options.text in (None, "-") else options.text
        speech, samples = trio.run(speak, options, text)
        if options.out is not None:
            save(options.out, speech, samples)
    except (StartError, ClientError, OSError, UnicodeDecodeError) as error:
        sys.exit(f"error: {error}")
    for word in speech.words:
        print(f"{word.start_s:8.3f} {word.end_s:8.3f}  {word.text}")
    print(speech.timing if options.out is None else f"{options.out}: {speech.timing}")


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kokoro-trio speak",
        description="Sends one text to a server and prints how fast it was.",
        parents=[connection_options()],
    )
    parser.add_argument("--text", help="the text; standard input if missing or -")
    parser.add_argument("--voice", help="female, male, a voice, or a recipe of voices (default: female)")
    parser.add_argument("--language", help="en-gb, es, fr … (default: that of the voice)")
    parser.add_argument("--speed", type=float, help="0.5 to 2.0 (default: 1.0)")
    parser.add_argument("--format", help="of the audio on the wire: pcm, mulaw or opus (default: pcm)")
    parser.add_argument("--sample-rate", type=int, metavar="HZ", help="(default: the best for the format)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the audio file: Opus as received if it ends in .ogg or .opus, else WAV",
    )
    parser.add_argument("--words", action="store_true", help="print when each word starts and ends")
    return parser


def _read_standard_input() -> str:
    # As UTF-8 in every locale: in the C locale Python decodes non-ASCII bytes to surrogates.
    return sys.stdin.buffer.read().decode("utf-8")


async def speak(options: argparse.Namespace, text: str) -> tuple[Speech, NDArray[np.int16]]:
    """The finished speech and its samples."""
    async with connect_with(options) as session:
        if options.words or options.format or options.sample_rate:
            await session.start(
                format=options.format,
                sample_rate=options.sample_rate or DEFAULT_RATES_HZ.get(options.format),
                timestamps=options.words,
            )
        async with session.speak(
            text, voice=options.voice, speed=options.speed, language=options.language
        ) as speech:
            return speech, await speech.read_all()


def save(path: Path, speech: Speech, samples: NDArray[np.int16]) -> None:
    if path.suffix in OGG_SUFFIXES:
        path.write_bytes(speech.encoded)
    else:
        save_wav(path, samples, speech.sample_rate_hz)


if __name__ == "__main__":
    main()
