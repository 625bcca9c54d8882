/** Uploads of a file or a text, with their progress: how much, how many percent, how long still. */

import { duration, size } from "./format.js";

const SOON_MS = 1000;

/**
 * @param {string} url relative to the page
 * @param {XMLHttpRequestBodyInit} body
 * @param {(progress: {text: string, share: ?number}) => void} report share: 0 to 1; null while the server works on it
 * @returns {Promise<{status: number, response: ?object}>} status 0: the connection was lost
 */
export function upload(url, body, report) {
  const request = new XMLHttpRequest();
  const began = performance.now();
  request.responseType = "json";
  request.upload.addEventListener("progress", ({ loaded, total }) => report({ text: sendingText(loaded, total, performance.now() - began), share: loaded / total }));
  request.upload.addEventListener("load", () => report({ text: "Sent; the server verifies it …", share: null }));
  return new Promise((resolve) => {
    request.addEventListener("loadend", () => resolve({ status: request.status, response: request.response }));
    request.open("POST", url);
    request.send(body);
  });
}

/**
 * @param {number} sent @param {number} all bytes @param {number} elapsed milliseconds
 * @returns {string} "Sending 3 MB of 12 MB (25 %), 9 s left …"
 */
function sendingText(sent, all, elapsed) {
  const left = elapsed >= SOON_MS && sent > 0 && sent < all ? `, ${duration(((elapsed / sent) * (all - sent)) / 1000)} left` : "";
  return `Sending ${size(sent)} of ${size(all)} (${Math.floor((100 * sent) / all)} %)${left} …`;
}

/** @param {{status: number, response: ?object}} answer @returns {string} why the upload failed */
export function failure({ status, response }) {
  if (status === 0) return "It could not be sent: the connection was lost. Try again when the page is connected.";
  return response?.error?.message ?? `The server refused it (${status}).`;
}
