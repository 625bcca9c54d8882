/** The lines of the log: those of the server's terminal, and this browser's own between them. Both are bounded. */

const SERVER_LINES = 1000;
const OWN_LINES = 200;

/** @typedef {"info"|"success"|"warning"|"error"} MessageType */

/**
 * @typedef {object} Line
 * @property {string} id
 * @property {Date} time
 * @property {MessageType} type
 * @property {string} text
 * @property {number} count how often it was printed in a row
 * @property {Date} since when for the first time
 * @property {boolean} own of this browser, not of the terminal
 */

export class LogLines {
  /** Oldest first. @type {readonly Line[]} */
  lines = [];

  #start = null;
  /** @type {Map<number, Line>} by their number */
  #server = new Map();
  /** @type {Line[]} */
  #own = [];
  #numbers = 0;

  /**
   * Adds lines of the terminal as the server sends them: new ones, or known ones that were repeated.
   * @param {string} start distinguishes one start of the server from another, whose lines count anew
   * @param {object[]} lines
   */
  add(start, lines) {
    if (start !== this.#start) this.#server.clear();
    this.#start = start;
    for (const line of lines) {
      const known = this.#server.get(line.number);
      if (!known || known.count <= line.count) this.#server.set(line.number, fromServer(line));
    }
    const numbers = [...this.#server.keys()].sort((a, b) => a - b);
    for (const number of numbers.slice(0, -SERVER_LINES)) this.#server.delete(number);
    this.#sort();
  }

  /** @param {string} text @param {MessageType} type @param {Date} time by the server's clock */
  record(text, type, time) {
    const last = this.#own.at(-1);
    const repeated = last && last.text === text && last.type === type;
    const { id, count, since } = repeated ? last : { id: `own-${++this.#numbers}`, count: 0, since: time };
    const line = { id, time, type, text, count: count + 1, since, own: true };
    this.#own = [...(repeated ? this.#own.slice(0, -1) : this.#own), line].slice(-OWN_LINES);
    this.#sort();
  }

  #sort() {
    this.lines = [...this.#server.values(), ...this.#own].sort((a, b) => a.time - b.time || order(a, b));
  }
}

function fromServer({ start, number, at, type, text, count, since }) {
  return { id: `${start}-${number}`, number, time: new Date(at), type, text, count, since: new Date(since), own: false };
}

function order(a, b) {
  return a.own || b.own ? Number(a.own) - Number(b.own) : a.number - b.number;
}

/** @param {Line} line @returns {string} as it is copied and kept: time in UTC, kind, and the line as the terminal has it */
export function asText({ time, type, text, count, since, own }) {
  const again = count > 1 ? ` (${count} times since ${since.toISOString()})` : "";
  return `${time.toISOString()} ${type.padEnd(7)} ${own ? "[this browser] " : ""}${text}${again}`;
}

/**
 * @param {readonly Line[]} lines
 * @param {Set<string>} types that are wanted
 * @param {string} search
 * @returns {Line[]}
 */
export function filterLines(lines, types, search) {
  const wanted = search.trim().toLowerCase();
  return lines.filter(({ type, text }) => types.has(type) && text.toLowerCase().includes(wanted));
}
