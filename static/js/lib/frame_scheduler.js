/**
 * Frame scheduler: what changes many times a second is drawn one part a frame, so that no frame takes long, and in rounds
 * that are not too frequent.
 */

const ROUND_MS = 100;

export class FrameScheduler {
  #waiting = [];
  #timer = null;
  #again = null;

  /** @param {() => void} again called once the last round is over, where it is not yet @returns {boolean} whether it is */
  isFree(again) {
    if (this.#timer === null && this.#waiting.length === 0) return true;
    this.#again = again;
    return false;
  }

  /** Begins a round: the first of them at once, each other in a frame of its own. @param {(() => void)[]} acts */
  begin(acts) {
    this.#waiting = acts;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#end();
    }, ROUND_MS);
    this.#next();
  }

  /** Gives up what is left of a round, because everything has been drawn. */
  drop() {
    this.#waiting = [];
  }

  #next() {
    this.#waiting.shift()?.();
    if (this.#waiting.length > 0) requestAnimationFrame(() => this.#next());
    else this.#end();
  }

  #end() {
    if (this.#timer !== null || this.#waiting.length > 0) return;
    const again = this.#again;
    this.#again = null;
    again?.();
  }
}
