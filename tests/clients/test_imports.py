"""End to end: the clients in processes in which the packages of the server cannot be imported."""

import json

import pytest

from tests.support.peers import Peer, serving
from tests.support.processes import output_of
from tests.support.servers import in_thread

BLOCKED = """
import sys
sys.modules.update(dict.fromkeys({blocked}))  # An import of these raises ModuleNotFoundError.
"""
OF_THE_SERVER = ["torch", "av", "spacy", "misaki", "kokoro", "quart", "hypercorn", "prometheus_client"]

SPEAK = """
import trio
from kokoro_trio.{module} import DecoderMissing, connect

async def main():
    async with connect("127.0.0.1", int(sys.argv[1])) as session:
        try:
            await session.start(format="opus")
        except DecoderMissing as error:
            print(error)
        async with session.speak("Hello.") as speech:
            print(len(await speech.read_all()))

trio.run(main)
"""


async def speak(peer: Peer) -> None:
    while True:
        message = json.loads(await peer.websocket.get_message())
        if message["type"] == "start":
            fields = {"voice": "v", "format": "pcm", "sample_rate": 24_000, "timestamps": True}
            await peer.say("started", **fields)
        if message["type"] == "speak":
            await peer.speak(message["request_id"], 1, 2)


@pytest.mark.parametrize("module", ["client", "reconnecting"])
async def test_client_speaks_without_the_packages_of_the_server(module: str) -> None:
    program = BLOCKED.format(blocked=[*OF_THE_SERVER, "soxr"]) + SPEAK.format(module=module)
    async with serving(speak) as port:
        printed = await in_thread(output_of, "-c", program, str(port))
    assert printed.splitlines() == [
        'the format opus needs PyAV: pip install "kokoro-trio[opus]"',
        "960",
    ]


def test_pipecat_service_needs_neither_trio_nor_the_packages_of_the_server() -> None:
    blocked = [*OF_THE_SERVER, "trio", "trio_websocket"]  # Pipecat itself imports soxr.
    # Importing Pipecat's modules raises warnings.
    program = BLOCKED.format(blocked=blocked) + "import warnings; warnings.simplefilter('ignore')\n"
    output_of("-c", program + "from kokoro_trio.pipecat import KokoroTrioTTSService")
