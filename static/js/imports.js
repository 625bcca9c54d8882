/** Taking a saved state in: an archive, or the three files of a folder, sent with their progress. */

import { byId } from "./dom.js";
import { failure, send } from "./upload.js";

/**
 * @param {(text: string, type: string) => void} say
 * @param {() => void} done called when something has come in
 */
export function createImport(say, done) {
  const input = byId("import-input");
  byId("import-button").addEventListener("click", () => input.click());
  input.addEventListener("change", async () => {
    const files = [...input.files];
    input.value = "";
    if (!files.length) return;
    say(...outcome(await send("api/states", form(files), ({ text }) => say(text, "busy"))));
    done();
  });
}

function form(files) {
  const form = new FormData();
  for (const file of files) form.append(files.length === 1 ? "archive" : file.name, file);
  form.append("name", nameOf(files));
  return form;
}

function nameOf(files) {
  return files.length === 1 ? files[0].name.replace(/\.zip$/i, "").slice(0, 100) : "";
}

/** @returns {[string, string]} what to say of how it ended, and its type */
function outcome(answer) {
  const { status, response } = answer;
  if (status !== 200) return [failure(answer), "error"];
  return [["Imported.", ...response.warnings].join(" "), response.warnings.length ? "warning" : "success"];
}
