/** The names of the three networks, as the page writes them. */

/** By their names in what the server sends. */
export const NETWORK_NAMES = { field_update: "Field Update", syntropy: "Syntropy", feedback: "Feedback" };
