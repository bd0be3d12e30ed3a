// Cuts the page's text into requests that the server accepts, and maps characters of a request back to the
// page's text.

// Words as the server counts them: two characters each in scripts without spaces, elsewhere at most fifty.
const UNSPACED = /[\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{3ffff}\u0e01-\u0eff\u1000-\u109f\u1780-\u17b3]/gu;
const MAX_CHARS_A_WORD = 80; // Including the spaces around it; longer ones are cut.
const COUNTS = /[\p{L}\p{N}]/u;

/** Places where a piece may end, best first. */
const ENDS = [
  /\n\s*\n\s*/g,
  /\n\s*/g,
  /(?:(?<=\p{L}{3}|[\d)\]"'”’»])[.!?…]+|[。！？])["'”’»)\]]*\s*/gu,
  /[;:,，、；：—]["'”’»)\]]*\s*/gu,
  /\s+/g,
];

export function wordCount(text) {
  let words = 0;
  for (const token of text.split(/\s+/)) {
    const unspaced = token.match(UNSPACED)?.length ?? 0;
    const spaced = token.length - unspaced;
    words += Math.ceil(unspaced / 2);
    if (spaced > 0 && COUNTS.test(token.replace(UNSPACED, ""))) words += Math.ceil(spaced / 50);
  }
  return words;
}

/** Cuts `text`, from the character `start` on, into pieces of at most `maxWords`: `[{text, start}, …]`. */
export function inPieces(text, start, maxWords) {
  const pieces = [];
  let at = start;
  while (at < text.length) {
    const end = at + lengthOfPiece(text.slice(at, at + maxWords * MAX_CHARS_A_WORD), maxWords, text.length - at);
    const piece = text.slice(at, end);
    if (piece.trim()) pieces.push({ text: piece, start: at });
    at = end;
  }
  return pieces;
}

function lengthOfPiece(text, maxWords, lengthOfRest) {
  if (text.length === lengthOfRest && wordCount(text) <= maxWords) return lengthOfRest;
  const longest = lengthOfWords(text, maxWords);
  for (const end of ENDS) {
    const ends = [...text.slice(0, longest).matchAll(end)].map((found) => found.index + found[0].length);
    const last = ends.findLast((each) => each >= longest / 3);
    if (last !== undefined) return last;
  }
  return longest;
}

/** The length of the longest beginning with at most `maxWords`, by binary search. */
function lengthOfWords(text, maxWords) {
  let fits = 1;
  let tooLong = text.length;
  while (tooLong - fits > 1) {
    const middle = (fits + tooLong) >> 1;
    if (wordCount(text.slice(0, middle)) <= maxWords) fits = middle;
    else tooLong = middle;
  }
  // Never between the two halves of a surrogate pair.
  return /[\uD800-\uDBFF]/.test(text[fits - 1]) ? fits + 1 : fits;
}

/** Maps the server's positions, in characters, to the browser's, in UTF-16 units. */
export function unitsOf(text) {
  const starts = [];
  let unit = 0;
  for (const character of text) {
    starts.push(unit);
    unit += character.length;
  }
  starts.push(unit);
  return (character) => starts[Math.min(character, starts.length - 1)];
}
