// Plays audio as it arrives: each piece is scheduled on the audio clock right after the one before it.
// It uses source nodes, because browsers offer audio worklets on https and localhost only, and a phone reaches a
// server in the local network by plain http.

import { SAMPLE_RATE_HZ } from "./link.js";

const LEAD_S = 0.03; // Delay of the first piece after silence: time to schedule it.
const FADE_S = 0.008; // Fades out without a click.
const GATHERED_SAMPLES = SAMPLE_RATE_HZ / 10; // In one node, while enough is scheduled.
const UNHURRIED_S = 0.5; // This much is enough.

/** Plays one utterance at a time: `begin` starts it, `silence` ends it at once. */
export class Player {
  #context = null;
  #out = null;
  #sources = new Set();
  #runs = []; // Stretches without a gap: at `clockS`, `sample` is heard.
  #endsAt = 0; // Clock time at which the scheduled audio ends.
  #scheduled = 0;
  #gathered = [];
  #gatheredSamples = 0;

  constructor() {
    this.received = 0; // Samples of this utterance.
    this.gaps = 0; // How often playback ran out of audio.
  }

  /** Call it in the handler of a user's gesture: browsers do not let pages start audio by themselves. */
  async wake() {
    if (this.#context === null) {
      // Otherwise a phone in silent mode would mute the speech.
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

  /** `samples`: the next of the utterance, an Int16Array at 24 kHz. */
  feed(samples) {
    this.#gathered.push(samples);
    this.#gatheredSamples += samples.length;
    this.received += samples.length;
    const aheadS = this.#endsAt - this.#context.currentTime;
    if (aheadS < UNHURRIED_S || this.#gatheredSamples >= GATHERED_SAMPLES) this.flush();
  }

  /** Schedules the gathered samples. Call it when no more follow. */
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
    // Read the clock last: a piece that starts late would overlap the next one.
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

  /** Seconds of the utterance that were heard: the audio clock less the output latency. */
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

  /** Ends the utterance; the next call is `begin`. */
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
