// The connection to the server: HTTP for the list of voices, one WebSocket for speech.

const VOICES = "/v1/audio/voices";
const STREAM = "/v1/audio/speech/stream/ws";

export const SAMPLE_RATE_HZ = 24000;

/** Why the server cannot be used: "key" (wrong or missing), "loading", "foreign", "busy" or "gone". */
export class Refused extends Error {
  constructor(reason, retryAfterS = null) {
    super(reason);
    this.reason = reason;
    this.retryAfterS = retryAfterS;
  }
}

/** The voices of the server. Throws `Refused`. */
export async function fetchVoices(key) {
  let answer;
  try {
    const headers = key ? { "X-API-Key": headerValue(key) } : {};
    answer = await fetch(VOICES, { headers, cache: "no-store" });
  } catch {
    throw new Refused("gone");
  }
  if (answer.status === 401) throw new Refused("key");
  if (answer.status === 503) throw new Refused("loading", Number(answer.headers.get("Retry-After")) || 2);
  if (!answer.ok) throw new Refused("gone");
  return (await answer.json()).voices;
}

/** Whether the server refuses this page's origin, as it does behind a proxy that changes `Host`. */
async function isForeign() {
  // Not a GET: browsers send no Origin with it.
  return (await fetch(VOICES, { method: "OPTIONS" })).status === 403;
}

/** The key as UTF-8 bytes, one per character, because `fetch` only takes such characters in a header. */
function headerValue(key) {
  return String.fromCharCode(...new TextEncoder().encode(key));
}

/**
 * One WebSocket. The first `open` connects it; after a loss, the next `open` connects it again.
 *
 * It calls `onMessage(message)`, `onAudio(samples: Int16Array)` and `onLost()`, and
 * `onTraffic(direction, message)` for everything sent and received.
 */
export class Link {
  #socket = null;
  #opening = null;

  constructor({ onMessage, onAudio, onLost, onTraffic }) {
    this.on = { onMessage, onAudio, onLost, onTraffic };
    this.key = "";
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Resolves when the socket can send. Throws `Refused`. */
  open() {
    if (this.isOpen) return Promise.resolve();
    this.#opening ??= this.#connect().finally(() => (this.#opening = null));
    return this.#opening;
  }

  send(message) {
    this.on.onTraffic("→", message);
    this.#socket.send(JSON.stringify(message));
  }

  close() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }

  async #connect() {
    const url = new URL(STREAM, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    if (this.key) url.searchParams.set("api_key", this.key);
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    const isOpen = await new Promise((resolve) => {
      socket.onopen = () => resolve(true);
      socket.onclose = () => resolve(false);
    });
    // Browsers hide the status of a refused handshake. The list of voices needs the same key and shows it.
    if (!isOpen) {
      await fetchVoices(this.key);
      throw new Refused((await isForeign()) ? "foreign" : "busy");
    }
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = () => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.on.onLost();
    };
    this.send({ type: "start", format: "pcm", sample_rate: SAMPLE_RATE_HZ, timestamps: true });
  }

  #receive(data) {
    if (typeof data !== "string") {
      const samples = new Int16Array(data);
      this.on.onTraffic("←", samples);
      this.on.onAudio(samples);
      return;
    }
    const message = JSON.parse(data);
    this.on.onTraffic("←", message);
    this.on.onMessage(message);
  }
}
