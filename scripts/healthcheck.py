"""Whether the server of this machine is ready to speak: exit status 0, else 1 and a line that says why.

python scripts/healthcheck.py
python scripts/healthcheck.py --port 9000 --path /healthz
"""

import argparse
import os
import sys
from urllib.error import URLError
from urllib.request import urlopen


def main() -> None:
    parser = argparse.ArgumentParser(description="Whether the server of this machine is ready to speak.")
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8000")))
    parser.add_argument("--path", default="/readyz", help="/healthz: as long as it serves")
    options = parser.parse_args()
    try:
        urlopen(f"http://127.0.0.1:{options.port}{options.path}", timeout=4).close()
    except URLError as error:  # HTTPError, for any status but a good one, is one of them.
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
