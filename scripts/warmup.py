"""Speaks a sentence with each voice and prints one line a voice; --save writes one WAV file a voice.

python scripts/warmup.py --voices female,male,bf_emma --save
"""

import argparse
import sys
from pathlib import Path

import trio

from kokoro_trio.client import (
    ClientError,
    RequestFailed,
    Session,
    Timing,
    connect_with,
    connection_options,
    save_wav,
)
from kokoro_trio.config import REPOSITORY
from kokoro_trio.errors import StartError

SENTENCE = "The first words of a morning are seldom the wisest, but somebody has to say them."


def main() -> None:
    try:
        all_spoke = trio.run(speak_all, _command_line().parse_args())
    except (StartError, ClientError, OSError) as error:
        sys.exit(f"error: {error}")
    sys.exit(0 if all_spoke else 1)


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Speaks a sentence with each voice.", parents=[connection_options()]
    )
    parser.add_argument("--voices", default="female,male", help="separated by commas (default: %(default)s)")
    parser.add_argument("--text", default=SENTENCE)
    parser.add_argument("--save", action="store_true", help="write warmup_VOICE.wav for each voice")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "logs" / "warmup", help="for --save")
    return parser


async def speak_all(options: argparse.Namespace) -> bool:
    """Returns whether every voice spoke. An unknown voice does not stop the others."""
    voices = [voice.strip() for voice in options.voices.split(",") if voice.strip()]
    n_spoke = 0
    async with connect_with(options) as session:
        for voice in voices:
            try:
                print(f"{voice}: {await speak(session, voice, options)}")
                n_spoke += 1
            except RequestFailed as error:
                print(f"{voice}: {error}", file=sys.stderr)
    return n_spoke == len(voices)


async def speak(session: Session, voice: str, options: argparse.Namespace) -> Timing:
    async with session.speak(options.text, voice=voice) as speech:
        samples = await speech.read_all()
    if options.save:
        options.folder.mkdir(parents=True, exist_ok=True)
        save_wav(options.folder / f"warmup_{voice}.wav", samples)
    return speech.timing


if __name__ == "__main__":
    main()
