"""kokoro_trio: a streaming text-to-speech server around Kokoro-82M.

The packages and modules, from the command line inwards; imports only point downwards:

- `cli`: the console script `kokoro-trio`, which runs one of the commands below
- `__main__`: the server's command line, wiring, serving
- `speak`, `voices`, `metrics`: the commands that speak one text, name blends, and summarize the metrics log
- `client`, `reconnecting`, `pipecat`: the public names of `clients`
- `server`: the port, WebSocket sessions and their dialects, HTTP with OpenAI's interface and the page
- `clients`: clients of the WebSocket: the plain one, one that reconnects, a service for Pipecat
- `engine`: the scheduler, the inference thread, and the processes that turn text into phonemes
- `supervisor`: notifications to systemd, the watchdog of the event loop
- `telemetry`: the events of the engine and the server: metrics log, Prometheus metrics; the log
- `model`: voices, the prosody half and the vocoder half of Kokoro, early audio
- `weights`: where the weights come from, how they are prepared and checked
- `text`: from the client's text to sentences, words and phonemes
- `audio`: samples to frames, in the formats of the wire
- `wire`: messages and limits that the server and the clients share
- `speech`: the nouns that all of them share, with a glossary
- `watched`: files that change while the server runs
- `config`, `errors`: the knobs; the errors that operators and clients see
- `installation`: the folder of the data, and the commands that install what is missing
"""

__version__ = "0.1.0"
