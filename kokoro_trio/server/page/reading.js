// The text while it is spoken: a word becomes an element when its time arrives, and is highlighted when heard.

export class Reading {
  #place;
  #text = "";
  #words = []; // {startChar, endChar, startS, endS, element, gap}, in order; the gap precedes the word.
  #rest = null; // The text node of the words without times.
  #cursor = 0; // The character at which `#rest` starts.
  #nHeard = 0;
  #now = null;

  constructor(place) {
    this.#place = place;
  }

  /** Shows a text that is not spoken. */
  show(text) {
    this.begin(text, 0);
  }

  /** Text before the character `from` is shown as heard. */
  begin(text, from) {
    this.#text = text;
    this.#words = [];
    this.#nHeard = 0;
    this.#now = null;
    const before = span(text.slice(0, from));
    before.className = "heard";
    this.#cursor = from;
    this.#rest = document.createTextNode("");
    this.#place.replaceChildren(before, this.#rest);
    this.#showRest();
  }

  /** `words`: the next ones, in characters of the text and seconds of the utterance. */
  add(words) {
    for (const word of words) {
      const startChar = Math.max(word.startChar, this.#cursor);
      if (word.endChar <= startChar) continue;
      const gap = span(this.#text.slice(this.#cursor, startChar));
      const element = span(this.#text.slice(startChar, word.endChar));
      this.#rest.before(gap, element);
      this.#words.push({ ...word, startChar, element, gap, gapStartChar: this.#cursor });
      this.#cursor = word.endChar;
    }
    this.#showRest();
  }

  /** Highlights what was heard after `heardS` seconds. Returns the element of a word that just began, else null. */
  hear(heardS) {
    const before = this.#now;
    while (this.#words[this.#nHeard]?.startS <= heardS) {
      this.#now?.element.classList.remove("now");
      this.#now = this.#words[this.#nHeard++];
      this.#now.gap.classList.add("heard");
      this.#now.element.classList.add("heard", "now");
    }
    return this.#now === before ? null : this.#now.element;
  }

  /** Shows everything as heard. */
  finish() {
    this.hear(Infinity);
    this.#now?.element.classList.remove("now");
    this.#now = null;
    const behind = span(this.#rest.data);
    behind.className = "heard";
    this.#rest.replaceWith(behind);
  }

  /** The character at which speech was cut at `heardS`: after the last word that ended, as the server decides. */
  cutAt(heardS, from) {
    const heard = this.#words.filter(({ endS }) => endS <= heardS + 1e-6);
    if (heard.length === 0) return from;
    const { endChar } = heard.at(-1);
    const behind = endChar + /^\S*/.exec(this.#text.slice(endChar))[0].length;
    return Math.min(behind, this.#words[heard.length]?.startChar ?? this.#text.length);
  }

  /** Highlights only the text before this character. */
  showCut(character) {
    this.#now?.element.classList.remove("now");
    this.#now = null;
    for (const { startChar, element, gapStartChar, gap } of this.#words) {
      gap.classList.toggle("heard", gapStartChar < character);
      element.classList.toggle("heard", startChar < character);
    }
  }

  #showRest() {
    // A line break at the end would have no height.
    const end = this.#text === "" || this.#text.endsWith("\n") ? "\u200b" : "";
    this.#rest.data = this.#text.slice(this.#cursor) + end;
  }
}

function span(words) {
  const element = document.createElement("span");
  element.textContent = words;
  return element;
}
