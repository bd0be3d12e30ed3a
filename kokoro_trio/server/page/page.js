// The page: connects the controls, the server, the player and what is shown.

import { Choices } from "./choices.js";
import { fetchVoices, Link, SAMPLE_RATE_HZ } from "./link.js";
import { Player } from "./player.js";
import { Reading } from "./reading.js";
import { isSample, sampleFor } from "./samples.js";
import { Speech } from "./speech.js";
import { Trace } from "./trace.js";

const KEPT_KEY = "kokoro_trio.key";
const LONG_TEXT_CHARS = 600;
const SHOWN_LINES = 200;
const TICK_MS = 250;
const HANDS_OFF_MS = 5000; // After the user scrolled, the page does not scroll for this long.
const FOREIGN = "The server refuses pages from this address: ALLOWED_ORIGINS must list it.";
const LOST = "The connection was lost. Speak opens it again.";

/** The control that an error concerns, by error code; `bad_message` names it in `field`. */
const CONCERNS = {
  bad_text: "text",
  empty_text: "text",
  too_long: "text",
  unpronounceable: "text",
  unknown_voice: "voice",
  bad_language: "language",
  bad_speed: "speed",
};

const $ = (id) => document.getElementById(id);
const text = $("text");

const player = new Player();
const reading = new Reading($("spoken"));
const trace = new Trace($("trace"));
const choices = new Choices(settingsChanged);
const link = new Link({ onMessage: receive, onAudio: hear, onLost: lost, onTraffic: showMessage });

let maxWords = 100; // In one request; lowered when the server refuses a request as too long.
let speech = null; // The current utterance, or the last one.
let isSpeaking = false;
let canceling = null; // {speech, heardS, heardPiece, at} until `canceled` arrives.
let goOnFrom = null;
let scrolledAt = -Infinity;
let audioFrames = null; // The wire's line that counts audio frames, while it is the last line.
let waiting = null; // The timer of the next attempt.

// --- coming in ---------------------------------------------------------------------------------

async function comeIn(key) {
  link.key = key;
  try {
    choices.offer(await fetchVoices(key));
  } catch (refused) {
    if (refused.reason === "key") askForKey(key ? "The server does not know this key." : "");
    else waitFor(refused, () => comeIn(key));
    return;
  }
  if (key) keepKey(key);
  $("notice").textContent = "";
  $("forget").hidden = !key;
  showStudio();
  link.open().catch(() => {}); // Connect early; `speak` reports a failure.
}

function waitFor(refused, again) {
  const what = refused.reason === "loading" ? "The model is still being loaded." : "The server does not answer.";
  say($("notice"), `${what} Trying again …`);
  clearTimeout(waiting);
  waiting = setTimeout(again, 1000 * (refused.retryAfterS ?? 2));
}

function askForKey(why) {
  $("studio").hidden = $("dock").hidden = $("forget").hidden = true;
  $("notice").textContent = "";
  $("door").hidden = false;
  showError("key", why);
  $("key").focus();
}

function showStudio() {
  const wasHidden = $("studio").hidden;
  $("door").hidden = true;
  $("studio").hidden = $("dock").hidden = false;
  if (!wasHidden) return;
  if (text.value === "") text.value = sampleFor(choices.language);
  write();
  trace.draw(0);
  if (matchMedia("(pointer: fine)").matches) text.focus({ preventScroll: true });
}

/**
 * The key in the fragment of the link that scripts/start.sh prints (`#key=…`), or "". It is removed from the
 * address bar and the history. Browsers do not send fragments to servers.
 */
function linkedKey() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key") ?? "";
  if (key) history.replaceState(null, "", location.pathname + location.search);
  return key;
}

function keptKey() {
  try {
    return localStorage.getItem(KEPT_KEY) ?? "";
  } catch {
    return ""; // The browser stores nothing, so the page asks each time.
  }
}

/** "" removes the stored key. */
function keepKey(key) {
  try {
    if (key) localStorage.setItem(KEPT_KEY, key);
    else localStorage.removeItem(KEPT_KEY);
  } catch {
    // The browser stores nothing.
  }
}

$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  comeIn($("key").value.trim());
});

$("forget").addEventListener("click", () => {
  if (isSpeaking) bargeIn();
  keepKey("");
  link.close();
  link.key = $("key").value = "";
  askForKey("");
});

// --- speaking ----------------------------------------------------------------------------------

async function speak(from = 0) {
  clearErrors();
  if (isSpeaking) bargeIn();
  scrolledAt = -Infinity;
  if (!text.value.slice(from).trim()) {
    showError("text", "There is no text to speak yet.");
    text.focus();
    return;
  }
  goOnFrom = null;
  setState("speaking", "Waiting for the server …");
  isSpeaking = true;
  const send = (message) => link.send(message);
  const mine = (speech = new Speech({ text: text.value, from, how: choices.asked, maxWords, send }));
  reading.begin(text.value, from);
  document.body.dataset.reading = "";
  trace.begin();
  try {
    await player.wake();
    await link.open();
  } catch (refused) {
    if (speech === mine && isSpeaking) couldNotOpen(refused, from);
    return;
  }
  if (speech !== mine || !isSpeaking) return; // Interrupted in the meantime.
  player.begin();
  speech.askFor(0);
  requestAnimationFrame(draw);
}

function couldNotOpen(refused, from) {
  isSpeaking = false;
  write();
  setState("idle", "");
  if (refused.reason === "key") askForKey("The server does not know this key any more.");
  else if (refused.reason === "loading") waitFor(refused, () => againAfterWait(from));
  else if (refused.reason === "foreign") say($("status"), FOREIGN);
  else if (refused.reason === "busy") say($("status"), "The server accepts no new connections now.");
  else say($("status"), "The server does not answer.");
}

function againAfterWait(from) {
  $("notice").textContent = "";
  if (!isSpeaking) speak(from);
}

/** The user interrupts: stop the sound first, then tell the server. */
function bargeIn() {
  const heardS = silence();
  const canceled = speech.cancel(heardS);
  const heardPiece = canceled.find(({ startS }) => startS !== null && startS <= heardS);
  canceling = { speech, heardS, heardPiece, at: performance.now() };
  showCut(reading.cutAt(heardS, speech.from), `Stopped after ${seconds(heardS)}.`);
}

/** Stops the sound at once. Returns how many seconds were heard. */
function silence() {
  const heardS = speech.received === 0 ? 0 : player.heardS;
  player.silence();
  isSpeaking = false;
  trace.cutAt(heardS);
  trace.draw(heardS);
  showFigures(heardS);
  return heardS;
}

function showCut(character, words) {
  reading.showCut(character);
  const remains = speech.text.slice(character).trim();
  goOnFrom = remains && character > 0 ? character : null;
  const said = speech.text.slice(speech.from, character).trim();
  const last = said.split(/\s+/).slice(-4).join(" ");
  const heard = said ? stopped(`Heard up to “${said === last ? "" : "… "}${last}”`) : "Nothing was heard.";
  setState("silent", `${words} ${heard}`);
}

function receive(message) {
  const piece = speech?.piece(message.request_id);
  if (message.type === "canceled") return canceled(message);
  if (message.type === "error") return failed(message, piece);
  if (!piece || !isSpeaking) return;
  if (message.type === "queue" && speech.received === 0) say($("status"), "Waiting: the server is busy with other listeners.");
  if (message.type === "started_speak") speech.startsSpeaking(piece);
  if (message.type === "meta" && message.words) reading.add(speech.placed(piece, message.words));
  if (message.type === "done") {
    speech.hasEnded(piece);
    player.flush();
    speech.askFor(player.heardS);
  }
}

/** The server's account of what was heard replaces ours, because the server knows the words' times best. */
function canceled({ request_id, text_spoken }) {
  if (canceling === null || canceling.speech !== speech || isSpeaking) return;
  const { heardPiece, heardS, at } = canceling;
  if (heardPiece?.id !== request_id) return;
  canceling = null;
  const ackMs = Math.round(performance.now() - at);
  showCut(heardPiece.start + text_spoken.length, `Stopped after ${seconds(heardS)}, confirmed in ${ackMs} ms.`);
}

function failed(message, piece) {
  if (message.code === "unknown_request" || (message.request_id && !piece)) return;
  if (message.code === "too_long" && message.max_words < maxWords) {
    // The server's limit is lower than assumed: cut the text again.
    const { from } = speech;
    maxWords = Math.max(1, Math.floor(message.max_words * 0.9));
    abandon("");
    speak(from);
    return;
  }
  if (piece) speech.hasEnded(piece);
  const isAllSilent = speech === null || (speech.isReceived && speech.received === 0);
  if (message.code === "unpronounceable" && !isAllSilent) {
    speech.askFor(player.heardS); // Skip it: articles have lines of stars.
    return;
  }
  abandon(sentence(message.message));
  showServerError(message);
}

/** Ends the utterance for the reason in `words`, which is not an interruption by the user. */
function abandon(words) {
  if (!isSpeaking) return;
  const heardS = silence();
  if (link.isOpen) speech.cancel(heardS);
  if (heardS > 0) {
    showCut(reading.cutAt(heardS, speech.from), words);
    return;
  }
  write();
  setState("idle", "");
}

function lost() {
  if (speech === null || !isSpeaking) return;
  if (speech.isReceived) return; // All audio was received and is played to its end.
  const wasSilent = speech.received === 0;
  abandon(LOST);
  if (wasSilent) say($("status"), LOST);
}

function hear(samples) {
  if (!isSpeaking || !speech.receives(samples)) return;
  if (speech.received === samples.length) setState("speaking", "Speaking.");
  player.feed(samples);
  trace.feed(samples);
}

// --- display -----------------------------------------------------------------------------------

function draw() {
  if (!isSpeaking) return;
  const heardS = player.heardS;
  const word = reading.hear(heardS);
  if (word) keepInSight(word);
  trace.draw(heardS);
  showFigures(heardS);
  requestAnimationFrame(draw);
}

// Animation frames stop in a hidden tab, and the speech goes on.
setInterval(() => {
  if (!isSpeaking || speech.received === 0) return;
  const { heardS } = player;
  if (link.isOpen) speech.askFor(heardS);
  if (speech.isReceived && heardS >= speech.receivedS - 0.001) finish();
}, TICK_MS);

function finish() {
  isSpeaking = false;
  reading.finish();
  trace.draw(speech.receivedS);
  showFigures(speech.receivedS);
  setState("idle", `Spoken: ${seconds(speech.receivedS)}.`);
}

function showFigures(heardS) {
  const { ttfaMs, xrt } = speech;
  show("ttfa", ttfaMs === null ? "–" : `${Math.round(ttfaMs)} ms`);
  show("xrt", xrt === null ? "–" : xrt >= 100 ? xrt.toFixed(0) : xrt.toFixed(1));
  show("ahead", isSpeaking ? seconds(Math.max(0, speech.receivedS - heardS)) : "–");
  show("gaps", String(player.gaps));
}

function show(id, words) {
  if ($(id).textContent !== words) $(id).textContent = words;
}

function seconds(amount) {
  return `${amount.toFixed(1)} s`;
}

/** Scrolls a long text so that the current word is above the controls. */
function keepInSight(word) {
  if (performance.now() - scrolledAt < HANDS_OFF_MS) return;
  const { top, bottom } = word.getBoundingClientRect();
  const edge = Math.min(innerHeight, $("dock").getBoundingClientRect().top);
  if (top >= 0 && bottom <= edge - 24) return;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  scrollBy({ top: top - edge / 3, behavior: calm ? "instant" : "smooth" });
}

/** Shows the text as editable again. */
function write() {
  delete document.body.dataset.reading;
  reading.show(text.value);
  document.body.classList.toggle("long", text.value.length > LONG_TEXT_CHARS);
}

function setState(state, words) {
  document.body.dataset.state = state;
  const speaks = state === "speaking";
  $("speak-name").textContent = speaks ? "Stop" : "Speak";
  $("speak-key").textContent = speaks ? "Esc" : /Mac|iP/.test(navigator.platform) ? "⌘ ↵" : "Ctrl ↵";
  $("go-on").hidden = state !== "silent" || goOnFrom === null;
  say($("status"), words);
}

function say(place, words) {
  if (place.textContent !== words) place.textContent = words;
}

/** Audio frames, and each `meta` without words, are counted in one line until another message comes. */
function showMessage(direction, message) {
  const samples = message instanceof Int16Array ? message.length : 0;
  if (samples > 0 || (message.type === "meta" && !message.words)) {
    audioFrames ??= { n: 0, samples: 0, line: addLine("") };
    audioFrames.n += samples > 0;
    audioFrames.samples += samples;
    const { n, line } = audioFrames;
    const audioS = (audioFrames.samples / SAMPLE_RATE_HZ).toFixed(2);
    line.textContent = `← ${n} binary ${n === 1 ? "frame" : "frames"}, ${audioS} s`;
  } else {
    audioFrames = null;
    addLine(`${direction} ${JSON.stringify(message)}`);
  }
}

function addLine(words) {
  const wire = $("wire");
  const isAtEnd = wire.scrollTop + wire.clientHeight >= wire.scrollHeight - 4;
  const line = document.createElement("div");
  line.textContent = words;
  wire.append(line);
  while (wire.childElementCount > SHOWN_LINES) wire.firstElementChild.remove();
  if (isAtEnd) wire.scrollTop = wire.scrollHeight;
  return line;
}

// --- errors ------------------------------------------------------------------------------------

function showServerError(message) {
  const concerned = message.code === "bad_message" ? message.field : CONCERNS[message.code];
  const words = sentence(message.message);
  if (!$(`${concerned}-error`)) {
    say($("status"), words);
    return;
  }
  showError(concerned, words);
  if (concerned === "voice" && message.close_matches?.length) propose(message.close_matches, message.got);
}

/** Offers the close names as buttons. */
function propose(names, got) {
  const proposals = document.createElement("div");
  proposals.className = "proposals";
  for (const name of names) {
    const proposal = document.createElement("button");
    proposal.type = "button";
    proposal.textContent = name;
    proposal.addEventListener("click", () => {
      choices.choose(near(got, name));
      $("voice").focus();
    });
    proposals.append(proposal);
  }
  $("voice-error").append(proposals);
}

/** In a recipe, only the unknown name is replaced. */
function near(got, name) {
  const asked = speech.how.voice;
  return asked.includes(got) ? asked.replace(got, () => name) : name;
}

function showError(field, words) {
  say($(`${field}-error`), words);
  for (const control of controlsOf(field)) {
    if (words) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
  }
}

function controlsOf(field) {
  return field === "voice" ? [$("voice"), $("recipe")] : [$(field)];
}

function clearErrors() {
  for (const field of ["text", "voice", "language", "speed"]) showError(field, "");
}

function sentence(words) {
  return stopped(words.charAt(0).toUpperCase() + words.slice(1));
}

function stopped(words) {
  return /[.?!…]["”]?$/.test(words) ? words : `${words}.`;
}

// --- input -------------------------------------------------------------------------------------

function settingsChanged() {
  for (const field of ["voice", "language", "speed"]) showError(field, "");
  if (!isSpeaking && isSample(text.value)) {
    text.value = sampleFor(choices.language);
    write();
  }
}

text.addEventListener("input", () => {
  // Typing interrupts too.
  if (isSpeaking) bargeIn();
  goOnFrom = null;
  showError("text", "");
  setState("idle", "");
  write();
});

$("speak").addEventListener("click", () => (isSpeaking ? bargeIn() : speak()));

for (const kind of ["wheel", "touchmove"]) {
  addEventListener(kind, () => (scrolledAt = performance.now()), { passive: true });
}

$("go-on").addEventListener("click", () => {
  $("speak").focus({ preventScroll: true });
  speak(goOnFrom);
});

addEventListener("keydown", (event) => {
  if ($("studio").hidden) return;
  if (event.key === "Escape" && isSpeaking) {
    event.preventDefault();
    bargeIn();
  } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    speak(event.shiftKey && goOnFrom !== null ? goOnFrom : 0);
  }
});

// A link with a key was opened in a tab that already shows the page.
addEventListener("hashchange", () => {
  const key = linkedKey();
  if (key) comeIn(key);
});

setState("idle", "");
comeIn(linkedKey() || keptKey());
