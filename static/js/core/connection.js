/** The connection to the server: one socket, commands with answers, and plain fetches. */

const ANSWER_TIMEOUT_MS = 120_000;
const FETCH_TIMEOUT_MS = 15_000;
const RETRY_MS = 1_000;

/** @returns {object} a Socket.IO client that never gives up, once `connect` is called */
export function openSocket() {
  const { origin, pathname } = new URL("socket.io", document.baseURI);
  const socket = globalThis.io(origin, {
    path: pathname,
    autoConnect: false,
    transports: ["websocket", "polling"],
    tryAllTransports: true,
    reconnectionDelay: 300,
    reconnectionDelayMax: 2_000,
    timeout: 5_000,
  });
  keepTrying(socket);
  askForToken(socket);
  return socket;
}

// The cookie is too old, or the server has another token since: reloaded, the page asks for it.
function askForToken(socket) {
  socket.on("connect_error", ({ data }) => {
    if (data?.code === "token_required") location.reload();
  });
}

// After a disconnect that the server asked for the client does not try again by itself.
function keepTrying(socket) {
  const again = () => {
    if (!socket.active) setTimeout(() => socket.connect(), RETRY_MS);
  };
  socket.on("disconnect", again);
  socket.on("connect_error", again);
}

/**
 * @param {object} socket
 * @param {string} event
 * @param {object} payload
 * @returns {Promise<object>} the server's answer; a missing one becomes an answer with an error
 */
export function send(socket, event, payload) {
  if (!socket.connected) return Promise.resolve(refusal("not_connected", "Not connected to the server."));
  return socket
    .timeout(ANSWER_TIMEOUT_MS)
    .emitWithAck(event, payload)
    .then((answer) => answer ?? refusal("no_answer", "The server gave no answer."))
    .catch(() => refusal("no_answer", unanswered(socket)));
}

function unanswered(socket) {
  return socket.connected
    ? "The server has not answered yet; the log will show how it ended."
    : "The connection was lost before the answer came; the state shown after reconnecting is the true one.";
}

function refusal(code, message) {
  return { ok: false, error: { code, message } };
}

/**
 * @param {string} url relative to the page
 * @returns {Promise<{body: object, clockOffset: number}>}
 */
export async function fetchJson(url) {
  const { response, arrived } = await (askedFirst(url) ?? ask(url));
  if (response.status === 401) location.reload();
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return { body: await response.json(), clockOffset: clockOffset(response, arrived) };
}

async function ask(url) {
  const response = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
  return { response, arrived: Date.now() };
}

// `library_loader.js` asks for what is shown first before the modules are here.
function askedFirst(url) {
  const answer = globalThis.quadraFirst?.get(url);
  globalThis.quadraFirst?.delete(url);
  return answer;
}

function clockOffset(response, arrived) {
  const offset = Date.parse(response.headers.get("date")) - arrived;
  // The header counts whole seconds; a smaller difference is noise.
  return Math.abs(offset) > 3_000 ? offset : 0;
}
