/** Why no command can be given at all: a watcher's token, no connection, no status yet. */

import { WATCHER_REASON } from "../lib/role.js";

/**
 * @param {?object} status of the server @param {string} connection
 * @returns {?string} the reason; null: commands can be given
 */
export function whyUnavailable(status, connection) {
  if (WATCHER_REASON !== null) return WATCHER_REASON;
  if (connection !== "connected") return "Not connected to the server.";
  return status ? null : "Waiting for the server's first answer.";
}
