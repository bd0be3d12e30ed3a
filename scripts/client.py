"""Runs `kokoro-trio speak`; `python scripts/client.py --help` lists its options."""

from kokoro_trio.speak import main

if __name__ == "__main__":
    main()
