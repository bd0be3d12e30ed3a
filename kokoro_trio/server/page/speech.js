// One utterance of the page: a text in as many requests as it takes, and their results.

import { SAMPLE_RATE_HZ } from "./link.js";
import { inPieces, unitsOf } from "./pieces.js";

const AUDIBLE = 328; // −40 dBFS.
const MAX_OUTSTANDING = 2; // The current request and the next, so that there is no gap between them.
const ENOUGH_AHEAD_S = 20; // While this much is unheard, no request is sent.

let nSpoken = 0;

export class Speech {
  #pieces;
  #speaking = null;
  #nSent = 0;
  #firstSentAt = null;
  #firstAudioAt = null;
  #silentSamples = 0;
  #isAudible = false;
  #madeInMs = 0;
  #makingSince = null;

  /** `how`: voice, speed and language of the requests. `send` sends a message. */
  constructor({ text, from, how, maxWords, send }) {
    nSpoken++;
    this.text = text;
    this.from = from;
    this.how = how;
    this.received = 0; // Samples.
    this.send = send;
    this.#pieces = inPieces(text, from, maxWords).map((piece, n) => ({
      ...piece,
      id: `page-${nSpoken}-${n + 1}`,
      unitOf: unitsOf(piece.text),
      startS: null, // Its start, in seconds of the utterance.
      hasEnded: false,
    }));
  }

  get outstanding() {
    return this.#pieces.slice(0, this.#nSent).filter(({ hasEnded }) => !hasEnded);
  }

  get isReceived() {
    return this.#pieces.every(({ hasEnded }) => hasEnded);
  }

  get receivedS() {
    return this.received / SAMPLE_RATE_HZ;
  }

  /** Sends the next requests if it is time for them. */
  askFor(heardS) {
    while (
      this.#nSent < this.#pieces.length &&
      this.outstanding.length < MAX_OUTSTANDING &&
      (this.receivedS - heardS < ENOUGH_AHEAD_S || this.#nSent === 0)
    ) {
      const { id, text } = this.#pieces[this.#nSent++];
      const now = performance.now();
      this.#firstSentAt ??= now;
      this.#makingSince ??= now;
      this.send({ type: "speak", request_id: id, text, ...this.how });
    }
  }

  piece(requestId) {
    return this.#pieces.find(({ id }) => id === requestId);
  }

  startsSpeaking(piece) {
    this.#speaking = piece;
    piece.startS = this.receivedS;
  }

  /** The words of a `meta`, in characters of the page's text and seconds of the utterance. */
  placed(piece, words) {
    return words.map((word) => ({
      startChar: piece.start + piece.unitOf(word.start_char),
      endChar: piece.start + piece.unitOf(word.end_char),
      startS: piece.startS + word.start_s,
      endS: piece.startS + word.end_s,
    }));
  }

  /** Counts the samples. False for audio of a canceled request that was still on its way. */
  receives(samples) {
    if (this.#speaking === null) return false;
    this.#firstAudioAt ??= performance.now();
    if (!this.#isAudible) this.#lookForSound(samples);
    this.received += samples.length;
    return true;
  }

  #lookForSound(samples) {
    const at = samples.findIndex((sample) => Math.abs(sample) >= AUDIBLE);
    this.#isAudible = at !== -1;
    this.#silentSamples += this.#isAudible ? at : samples.length;
  }

  hasEnded(piece) {
    piece.hasEnded = true;
    if (this.#speaking === piece) this.#speaking = null;
    if (this.outstanding.length === 0) this.#rest();
  }

  /** Cancels the outstanding requests. Returns the pieces for which `canceled` will arrive. */
  cancel(heardS) {
    const canceled = this.outstanding;
    if (canceled.length > 0) {
      // The piece that is heard may be complete; then the first canceled one was not heard at all.
      const { startS } = canceled[0];
      const playedS = startS === null ? 0 : Math.max(0, heardS - startS);
      this.send({ type: "cancel", played_s: Number(playedS.toFixed(3)) });
    }
    this.#speaking = null;
    this.#rest();
    return canceled;
  }

  /** Stops the clock of `xrt` while no request is outstanding. */
  #rest() {
    if (this.#makingSince === null) return;
    this.#madeInMs += performance.now() - this.#makingSince;
    this.#makingSince = null;
  }

  /** From `speak` sent to the first audible sample. Null before that. */
  get ttfaMs() {
    if (!this.#isAudible) return null;
    return this.#firstAudioAt - this.#firstSentAt + (1000 * this.#silentSamples) / SAMPLE_RATE_HZ;
  }

  /** Seconds of audio received per second. */
  get xrt() {
    if (this.received === 0) return null;
    const making = this.#makingSince === null ? 0 : performance.now() - this.#makingSince;
    return (1000 * this.receivedS) / (this.#madeInMs + making);
  }
}
