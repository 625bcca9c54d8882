/** The dialog with the certificate that a saved state continues to the bit. */

import { byId, make, setAttribute, setText } from "../lib/dom.js";
import { absolute, age, whole } from "../lib/format.js";

/**
 * @param {(event: string, payload: object) => Promise<object>} send
 * @returns {(state: object) => Promise<?string>} proves and shows the certificate; what went wrong, or null
 */
export function createProof(send) {
  byId("proof-close").addEventListener("click", () => byId("proof-dialog").close());
  return async (state) => {
    const answer = await send("prove_state", { id: state.id });
    if (!answer.ok) return answer.error.message;
    draw(answer);
    byId("proof-dialog").showModal();
    return null;
  };
}

function draw(certificate) {
  const { different, iteration_count: count, iterations } = certificate;
  const verdict = different.length ? `Not the same: ${different.join(", ")}.` : `Every bit is the same at iteration ${whole(count + iterations)}.`;
  setText(byId("proof-verdict"), verdict);
  setAttribute(byId("proof-verdict"), "data-tone", different.length ? "bad" : "good");
  byId("proof-facts").replaceChildren(...facts(certificate).flatMap(([term, text]) => [make("dt", { textContent: term }), make("dd", { textContent: text })]));
  byId("proof-digests").replaceChildren(...Object.entries(certificate.in_one_go).map(([part, digest]) => line(part, digest, different)));
  const { ok, ...content } = certificate;
  byId("proof-download").href = `data:application/json,${encodeURIComponent(JSON.stringify(content, null, 1))}`;
}

function facts({ run, saved_at, iteration_count, iterations, weights_sha256, versions, machine }) {
  return [
    ["State", `run ${run}, iteration ${whole(iteration_count)}, saved ${age(saved_at, Date.now())} (${absolute(saved_at)})`],
    ["Weights file", `SHA-256 ${weights_sha256}`],
    ["Trained", `${whole(iterations)} iterations in one go; the same in two halves, saved and loaded in between, each in a process of its own`],
    ["Versions", Object.entries(versions).map((pair) => pair.join(" ")).join(", ")],
    ["Machine", machine],
  ];
}

function line(part, digest, different) {
  const same = !different.includes(part);
  const verdict = make("td", { textContent: same ? "same" : "different" });
  verdict.dataset.tone = same ? "good" : "bad";
  return make("tr", {}, verdict, make("th", { scope: "row", textContent: part }), make("td", { className: "digest", textContent: digest }));
}
