/** The import of a saved state: an archive, or the three files of a folder, sent with their progress. */

import { byId } from "../lib/dom.js";
import { progressText } from "../lib/progress.js";
import { failure, upload } from "../lib/upload.js";

/**
 * @param {object} socket
 * @param {(text: string, type: string) => void} say
 * @param {() => void} done called when something has come in
 */
export function createImport(socket, say, done) {
  const input = byId("import-input");
  let verifies = false;
  socket.on("progress", (progress) => {
    const text = verifies ? progressText(progress, "import") : null;
    if (text) say(`Sent; the server verifies it. ${text} …`, "busy");
  });
  byId("import-button").addEventListener("click", () => input.click());
  input.addEventListener("change", async () => {
    const files = [...input.files];
    input.value = "";
    if (!files.length) return;
    const answer = await upload("api/states", form(files), ({ text, share }) => {
      verifies = share === null;
      say(text, "busy");
    });
    verifies = false;
    say(...outcome(answer));
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
