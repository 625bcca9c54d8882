/**
 * Buttons that cannot be pressed now say why. They stay within reach of the keyboard (`aria-disabled`), show the reason when
 * the pointer or the focus is on them, and say it when they are pressed all the same.
 */

import { setAttribute } from "./dom.js";

/**
 * @param {HTMLButtonElement} button
 * @param {?string} reason why it cannot be pressed; null: it can
 * @param {?string} explanation what it does
 */
export function enable(button, reason, explanation = null) {
  // As the page arrives it is out of reach, because nothing answers it yet.
  if (button.disabled) button.disabled = false;
  setAttribute(button, "aria-disabled", reason === null ? null : "true");
  setAttribute(button, "data-why", reason);
  setAttribute(button, "title", reason ?? explanation);
  setAttribute(button, "aria-description", reason ?? explanation);
}

/** @param {HTMLButtonElement} button @returns {boolean} */
export function isEnabled(button) {
  return !button.disabled && button.getAttribute("aria-disabled") !== "true";
}

/**
 * Answers presses of disabled buttons with the reason.
 * @param {{pending: Set<string>, say: (text: string, type: string) => void}} model what is under way, and how to say something
 */
export function explainRefusals(model) {
  const refuse = (event) => {
    const button = event.target.closest?.('[aria-disabled="true"]');
    if (!button) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    // What is being done is already said; in a window the reason stands beside the button, which has the focus now.
    if (!model.pending.size && !button.closest("dialog")) model.say(`${button.textContent.trim()}: ${button.dataset.why}`, "info");
  };
  document.addEventListener("click", refuse, { capture: true });
}
