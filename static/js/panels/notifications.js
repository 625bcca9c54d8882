/** Alerts as notifications of the browser: asked for by a button only, and with the reason where there can be none. */

import { byId, setText, showText } from "../lib/dom.js";
import { read, write } from "../lib/storage.js";

const KEY = "quadra-notifications";

/** @returns {(alert: import("../core/model.js").Alert, title: string) => void} shows one, where that was switched on */
export function createNotifications() {
  byId("notify-switch").addEventListener("change", async (event) => {
    const wanted = event.target.checked;
    if (wanted && isPossible() && Notification.permission === "default") await Notification.requestPermission();
    remember(wanted && isPossible() && Notification.permission === "granted");
    draw();
  });
  draw();
  return notify;
}

function notify(alert, title) {
  if (!isOn()) return;
  try {
    new Notification(title, { body: alert.message, tag: `quadramatrix ${title}` });
  } catch (error) {
    // Some browsers of phones show notifications of installed apps only.
    remember(false);
    draw(`This browser shows no notifications of pages: ${error.message}`);
  }
}

function draw(trouble = null) {
  byId("notify-switch").checked = isOn();
  byId("notify-switch").disabled = whyNot() !== null;
  showText(byId("notify-reason"), trouble ?? whyNot());
  setText(byId("notify-state"), isOn() ? "on in this browser" : "off in this browser");
}

function whyNot() {
  if (!globalThis.isSecureContext) return "Notifications need https, or localhost: this connection is not secure.";
  if (!isPossible()) return "This browser has no notifications.";
  return Notification.permission === "denied" ? "Notifications of this page are blocked: allow them in the browser's settings for this site, then reload." : null;
}

function isPossible() {
  return Boolean(globalThis.isSecureContext && globalThis.Notification);
}

function isOn() {
  return isPossible() && Notification.permission === "granted" && read(KEY) === "on";
}

function remember(on) {
  write(KEY, on ? "on" : "off");
}
