// Sound, as it comes in: pieces are scheduled to the sample one behind the other on the audio clock.
// Source nodes and no worklet, as browsers have worklets on https and localhost only, and a phone comes
// to a server of the house over plain http.

import { SAMPLE_RATE_HZ } from "./link.js";

const LEAD_S = 0.03; // From a piece that comes into silence to its sound: time to schedule it.
const FADE_S = 0.008; // Silence at once, without a click.
const GATHERED_SAMPLES = SAMPLE_RATE_HZ / 10; // How much becomes one node, when there is no hurry.
const UNHURRIED_S = 0.5; // There is none when so much is scheduled.

/** Plays one utterance after the other; `begin` starts a new one, and `silence` ends it at once. */
export class Player {
  #context = null;
  #out = null;
  #sources = new Set();
  #runs = []; // Stretches without a gap: from which time of the clock which sample is heard.
  #endsAt = 0; // The clock at the end of what is scheduled.
  #scheduled = 0;
  #gathered = [];
  #gatheredSamples = 0;

  constructor() {
    this.received = 0; // Samples of this utterance.
    this.gaps = 0; // How often the listener had heard all there was.
  }

  /** To be called from a gesture of the user: browsers let no page make sound by itself. */
  async wake() {
    if (this.#context === null) {
      // A telephone that is set to silent rings silently; what was asked for is to be heard.
      if (navigator.audioSession) navigator.audioSession.type = "playback";
      this.#context = new AudioContext({ sampleRate: SAMPLE_RATE_HZ, latencyHint: "interactive" });
    }
    if (this.#context.state !== "running") await this.#context.resume();
  }

  begin() {
    this.silence();
    this.#out = this.#context.createGain();
    this.#out.connect(this.#context.destination);
    this.#runs = [];
    this.#scheduled = this.received = this.gaps = 0;
  }

  /** `samples`: Int16Array at 24 kHz, the next of the utterance. */
  feed(samples) {
    this.#gathered.push(samples);
    this.#gatheredSamples += samples.length;
    this.received += samples.length;
    const aheadS = this.#endsAt - this.#context.currentTime;
    if (aheadS < UNHURRIED_S || this.#gatheredSamples >= GATHERED_SAMPLES) this.flush();
  }

  /** Schedules what was gathered; to be called when nothing follows. */
  flush() {
    if (this.#gatheredSamples === 0) return;
    const buffer = this.#context.createBuffer(1, this.#gatheredSamples, SAMPLE_RATE_HZ);
    const channel = buffer.getChannelData(0);
    let at = 0;
    for (const samples of this.#gathered) {
      for (const sample of samples) channel[at++] = sample / 32768;
    }
    this.#gathered = [];
    this.#gatheredSamples = 0;
    this.#schedule(buffer);
  }

  #schedule(buffer) {
    const source = this.#context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.#out);
    source.onended = () => this.#sources.delete(source);
    this.#sources.add(source);
    // Last, as the clock goes on meanwhile: a piece that begins late sounds into the next one.
    const now = this.#context.currentTime;
    if (this.#runs.length === 0 || this.#endsAt < now) {
      if (this.#runs.length > 0) this.gaps++;
      this.#endsAt = now + LEAD_S;
      this.#runs.push({ clockS: this.#endsAt, sample: this.#scheduled });
    }
    source.start(this.#endsAt);
    this.#scheduled += buffer.length;
    const run = this.#runs.at(-1);
    this.#endsAt = run.clockS + (this.#scheduled - run.sample) / SAMPLE_RATE_HZ;
  }

  /** What the listener has heard of the utterance, in seconds: the audio clock, less the way out. */
  get heardS() {
    if (this.#runs.length === 0) return 0;
    const context = this.#context;
    const now = context.currentTime - (context.outputLatency || context.baseLatency || 0);
    const run = this.#runs.findLast(({ clockS }) => clockS <= now);
    if (run === undefined) return 0;
    const next = this.#runs[this.#runs.indexOf(run) + 1];
    const end = next ? next.sample : this.#scheduled;
    return Math.min(run.sample / SAMPLE_RATE_HZ + now - run.clockS, end / SAMPLE_RATE_HZ);
  }

  get receivedS() {
    return this.received / SAMPLE_RATE_HZ;
  }

  /** Nothing more is heard of what was fed; `begin` is next. */
  silence() {
    if (this.#out === null) return;
    const out = this.#out;
    const now = this.#context.currentTime;
    out.gain.setValueAtTime(1, now);
    out.gain.linearRampToValueAtTime(0, now + FADE_S);
    for (const source of this.#sources) source.stop(now + FADE_S);
    this.#sources.clear();
    setTimeout(() => out.disconnect(), 100);
    this.#out = null;
    this.#endsAt = 0;
    this.#gathered = [];
    this.#gatheredSamples = 0;
  }
}
