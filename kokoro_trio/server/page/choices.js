// The settings: voice or blend, language, speed. The browser stores them.

const KEPT = "kokoro_trio.choices";
const RECIPE = "*recipe"; // No voice can have that name.
const FIRST_VOICE = "af_heart";
const ALIASES = ["female", "male"];
const LANGUAGES = ["en-us", "en-gb", "es", "fr-fr", "hi", "it", "ja", "pt-br", "zh"];

const $ = (id) => document.getElementById(id);
const languageNames = new Intl.DisplayNames(["en"], { type: "language" });

export class Choices {
  #voices = [];
  #onChange;

  /** `onChange` is called after each change that the user makes. */
  constructor(onChange) {
    this.#onChange = onChange;
    $("language").append(
      new Option("Same as the voice", ""),
      ...LANGUAGES.map((tag) => new Option(languageNames.of(tag), tag)),
    );
    for (const id of ["voice", "recipe", "second", "share", "language", "speed"]) {
      $(id).addEventListener("input", () => this.#changed());
    }
  }

  /** Fills the pickers. Earlier choices, also of the last visit, are kept if they are still offered. */
  offer(voices) {
    const chosen = this.#voices.length > 0 ? this.#state() : kept();
    this.#voices = voices;
    $("voice").replaceChildren(
      ...this.#groups(voices),
      group("Defaults of this server", ALIASES.map((name) => new Option(`Default, ${name}`, name))),
      group("Several voices", [new Option("A recipe …", RECIPE)]),
    );
    $("voice").value = voices.some(({ name }) => name === FIRST_VOICE) ? FIRST_VOICE : voices[0]?.name;
    $("second").replaceChildren(new Option("No other voice", ""), ...this.#groups(voices.filter((voice) => !voice.is_blend)));
    for (const [id, value] of Object.entries(chosen)) {
      const control = $(id);
      if (!control) continue;
      const isOffered = control.tagName !== "SELECT" || [...control.options].some((each) => each.value === value);
      if (isOffered) control.value = value;
    }
    this.#show();
  }

  #groups(voices) {
    const blends = voices.filter((voice) => voice.is_blend);
    const single = voices.filter((voice) => !voice.is_blend);
    const tags = [...new Set(single.map(({ language }) => language))];
    const groups = tags.map((tag) =>
      group(
        languageNames.of(tag),
        single.filter(({ language }) => language === tag).map((voice) => new Option(shown(voice), voice.name)),
      ),
    );
    const named = blends.map(({ name }) => new Option(name, name));
    return named.length > 0 ? [group("Blends of this server", named), ...groups] : groups;
  }

  /** The fields of a `speak`. */
  get asked() {
    const speed = Number($("speed").value);
    const language = $("language").value;
    return { voice: this.#voice, ...(speed === 1 ? {} : { speed }), ...(language ? { language } : {}) };
  }

  /** The language that the text is expected in. */
  get language() {
    const voice = this.#voices.find(({ name }) => name === $("voice").value);
    return $("language").value || (voice?.language ?? "en-us");
  }

  /** Selects a voice that the server proposed. */
  choose(name) {
    if ($("voice").value === RECIPE || ![...$("voice").options].some(({ value }) => value === name)) {
      $("voice").value = RECIPE;
      $("recipe").value = name;
    } else {
      $("voice").value = name;
      $("second").value = "";
    }
    this.#changed();
  }

  get #voice() {
    const first = $("voice").value;
    if (first === RECIPE) return $("recipe").value.trim();
    if (!this.#isBlended) return first;
    const share = Number($("share").value);
    return `${first}(${100 - share})+${$("second").value}(${share})`;
  }

  /** A recipe mixes voices of the model only: an alias or a blend cannot be part of one. */
  get #canBlend() {
    return this.#voices.some(({ name, is_blend }) => name === $("voice").value && !is_blend);
  }

  get #isBlended() {
    return this.#canBlend && $("second").value !== "";
  }

  #state() {
    return Object.fromEntries(
      ["voice", "recipe", "second", "share", "language", "speed"].map((id) => [id, $(id).value]),
    );
  }

  #changed() {
    this.#show();
    keep(this.#state());
    this.#onChange();
  }

  #show() {
    $("recipe-field").hidden = $("voice").value !== RECIPE;
    $("second-field").hidden = !this.#canBlend;
    $("share-field").hidden = !this.#isBlended;
    if ($("second").value === $("voice").value) $("second").value = "";
    for (const option of $("second").options) option.disabled = option.value === $("voice").value;
    $("recipe-shown").hidden = !this.#isBlended;
    $("recipe-shown").textContent = this.#voice;
    const share = Number($("share").value);
    $("share-shown").textContent = `${100 - share} : ${share}`;
    const words = `${100 - share} to ${share}`;
    $("share").setAttribute("aria-valuetext", words);
    $("speed-shown").textContent = `${Number($("speed").value).toFixed(2)}×`;
    $("speed").setAttribute("aria-valuetext", `${Number($("speed").value)} times`);
  }
}

function shown({ name, gender }) {
  const own = name.replace(/^[a-z]+_/, "");
  return `${own.charAt(0).toUpperCase()}${own.slice(1)}, ${gender}`;
}

function group(label, options) {
  const element = document.createElement("optgroup");
  element.label = label;
  element.append(...options);
  return element;
}

function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT)) ?? {};
  } catch {
    return {}; // Malformed, or the browser stores nothing.
  }
}

function keep(state) {
  try {
    localStorage.setItem(KEPT, JSON.stringify(state));
  } catch {
    // The page works without stored settings.
  }
}
