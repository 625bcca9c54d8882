/** Taking a saved state in: an archive, or the three files of a folder, sent with their progress. */

import { byId } from "./dom.js";
import { size } from "./format.js";

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
    say(...(await upload(files, (sent, all) => say(`Sending ${size(sent)} of ${size(all)} …`, "busy"))));
    done();
  });
}

/** @returns {Promise<[string, string]>} what to say of how it ended, and its type */
function upload(files, tell) {
  const form = new FormData();
  for (const file of files) form.append(files.length === 1 ? "archive" : file.name, file);
  form.append("name", nameOf(files));
  const request = new XMLHttpRequest();
  request.responseType = "json";
  request.upload.addEventListener("progress", ({ loaded, total }) => tell(loaded, total));
  return new Promise((resolve) => {
    request.addEventListener("loadend", () => resolve(outcome(request)));
    request.open("POST", "api/states");
    request.send(form);
  });
}

function nameOf(files) {
  return files.length === 1 ? files[0].name.replace(/\.zip$/i, "").slice(0, 100) : "";
}

function outcome({ status, response }) {
  if (status === 200) return [["Imported.", ...response.warnings].join(" "), response.warnings.length ? "warning" : "success"];
  if (status === 0) return ["The file could not be sent: the connection was lost.", "error"];
  return [response?.error?.message ?? `The server refused the file (${status}).`, "error"];
}
