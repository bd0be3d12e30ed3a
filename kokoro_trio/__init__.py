"""kokoro_trio: a streaming text-to-speech server around Kokoro-82M.

The rooms, from the front door inwards; imports only point downwards:

- `__main__`: command line, wiring, serving
- `server`: the port, WebSocket sessions with their protocol (or Together's), HTTP with OpenAI's and the page
- `client`: a client for that protocol, beside the server; `reconnecting`: the same over lost connections
- `pipecat`: another, as a service for Pipecat's pipelines; it stands alone
- `engine`: who is served next, the one thread that runs the model, and those that read texts
- `model`: weights, voices, the prosody and the vocoder half of Kokoro
- `text`: from what the client wrote to sentences, to words, to phonemes
- `audio`: samples to frames, in the formats of the wire
- `metrics`, `exposition`: what happened to each request, and what Prometheus is told of it
- `speech`: the nouns that all of them share
- `watched`: files that are changed while the server runs
- `log`: how the log looks
- `supervisor`: what systemd is told
- `config`, `errors`, `limits`: what is set, what can go wrong, and how large a thing may be
"""

__version__ = "0.1.0"
