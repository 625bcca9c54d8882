/** The upload of a text as the corpus of the next run: pasted, dropped, or chosen as a file. */

import { byId, showText } from "../lib/dom.js";
import { size } from "../lib/format.js";
import { chooseText, factsOf } from "./new_run.js";
import { enable } from "../lib/disabled_reasons.js";
import { failure, upload } from "../lib/upload.js";
import { WATCHER_REASON } from "../lib/role.js";

const KEEP = "Keep the text in the state directory and train the next run on it";
const PASTED = "pasted text";

/** @param {import("../core/model.js").Model} model @returns {() => void} draws the button, and states the limit */
export function createOwnText(model) {
  const [area, input, zone] = ["own-text-input", "own-text-file", "own-text-zone"].map(byId);
  let sending = false;
  byId("own-text-button").addEventListener("click", () => submit(new Blob([area.value]), byId("own-text-name").value || PASTED));
  byId("own-text-choose").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files.length) submitFile(input.files[0]);
    input.value = "";
  });
  area.addEventListener("input", () => {
    say(null, null);
    model.changed();
  });
  acceptDrops(zone, submitFile);
  return () => {
    enable(byId("own-text-button"), whyNot(model, sending, area.value), KEEP);
    enable(byId("own-text-choose"), whyNot(model, sending, "x"), "A text file on this machine");
    const most = model.status?.new_run.largest_text;
    if (most) showText(byId("own-text-limit"), `UTF-8, one line an iteration, at most ${size(most)}. It is kept in the state directory with the runs that train on it, until Reset.`);
  };

  function submitFile(file) {
    submit(file, file.name);
  }

  async function submit(text, name) {
    const most = model.status?.new_run.largest_text ?? Infinity;
    if (text.size > most) return say(`${name} has ${size(text.size)}; at most ${size(most)} are taken. Start the server with --corpus and its place instead.`, null);
    if (sending) return say("Another text is being sent; wait until it has arrived.", null);
    sending = true;
    model.changed();
    const answer = await upload(`api/corpus?name=${encodeURIComponent(name)}`, text, (progress) => drawProgress(progress.text, progress.share));
    sending = false;
    drawProgress(null, null);
    if (answer.status === 200) onKept(answer.response);
    else say(failure(answer), null);
    model.changed();
  }

  function onKept(text) {
    chooseText(text.id);
    area.value = "";
    byId("own-text-name").value = "";
    say(null, `“${text.name}” is kept: ${factsOf(text)}. The next Initialize System trains on it.`);
  }
}

function whyNot({ connection }, sending, text) {
  if (WATCHER_REASON !== null) return WATCHER_REASON;
  if (sending) return "A text is being sent.";
  if (connection !== "connected") return "Not connected to the server.";
  return text.trim() ? null : "Paste a text first, or choose a file.";
}

function say(problem, done) {
  showText(byId("own-text-error"), problem);
  showText(byId("own-text-done"), done);
}

function drawProgress(text, share) {
  const bar = byId("own-text-progress");
  showText(byId("own-text-sent"), text);
  bar.hidden = text === null;
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
  if (text !== null) say(null, null);
}

function acceptDrops(zone, submitFile) {
  const mark = (over) => () => zone.classList.toggle("over", over);
  zone.addEventListener("dragenter", mark(true));
  zone.addEventListener("dragleave", mark(false));
  zone.addEventListener("dragover", (event) => event.preventDefault());
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(false)();
    const [file, ...more] = event.dataTransfer.files;
    if (more.length) return say("Drop one file at a time.", null);
    if (file) submitFile(file);
  });
}
