"""Runs `kokoro-trio voices`; `python voices/custom_voices.py --help` lists its commands."""

from kokoro_trio.voices import main

if __name__ == "__main__":
    main()
