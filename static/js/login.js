/*
 * Goes on by itself where the browser has a cookie: a link on another site leads here without it, since the cookie
 * stays away from whatever other sites begin; what this page begins has it.
 */

import { byId } from "./lib/dom.js";

const PROBE = "api/status";

async function goOn() {
  if (byId("login-trouble")) return;
  const answer = await fetch(PROBE, { cache: "no-store" }).catch(() => null);
  if (!answer?.ok) return;
  const { role } = await answer.json();
  // A watcher may have come to bring the other token.
  if (role === "operator" || byId("login-next").value) location.replace(`./${byId("login-next").value}`);
}

goOn();
