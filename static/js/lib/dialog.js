/** Dialogs that ask a question and are answered by confirming or cancelling. */

/** Makes the cancel buttons of dialogs close them. @param {HTMLDialogElement[]} dialogs */
export function enableCancel(dialogs) {
  for (const dialog of dialogs) {
    dialog.querySelector("button[type=button]").addEventListener("click", () => dialog.close());
  }
}

/** @param {HTMLDialogElement} dialog @returns {Promise<boolean>} whether it was confirmed */
export function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "confirm"), { once: true });
  });
}
