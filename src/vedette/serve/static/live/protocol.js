// The messages of the live socket, as serve/live/messages.py has them; a test compares the two.

/** @typedef {import("../shared/language.js").Problem} Problem */
/** @typedef {import("../shared/sentence.js").Message} Message */
/** @typedef {"stopped" | "preparing" | "starting" | "ready" | "draining" | "failed"} State */
/**
 * @typedef {"detecting_device" | "choosing_model" | "fetching_model" | "installing_engine" | "planning" |
 *   "launching_engine" | "loading_weights" | "profiling" | "compiling" | "capturing_graphs" | "warming_up"} Phase
 */

/**
 * Begin to ask, or continue with other wishes from the next frame on.
 * @typedef {object} Start
 * @property {"start"} type
 * @property {string} source
 * @property {string} prompt
 * @property {number} max_tokens
 * @property {boolean} [thinking]
 * @property {string} [system]
 * @property {boolean} [once] One answer, then stop.
 */

/**
 * End the current answer at once and ask no more.
 * @typedef {object} Stop
 * @property {"stop"} type
 */

/**
 * The page has no frame for ask `id` now.
 * @typedef {object} NoFrame
 * @property {"no_frame"} type
 * @property {number} id
 */

/**
 * Limits of one live request, from the plan.
 * @typedef {object} Limits
 * @property {number} answer_tokens
 * @property {number} image_max_pixels
 */

/**
 * The state of the engine, on connection and whenever it changes.
 * @typedef {object} Status
 * @property {"status"} type
 * @property {EngineStatus} engine
 * @property {number} now The server's Unix time in seconds.
 * @property {boolean} thinks
 * @property {boolean} sees
 * @property {Limits | null} limits
 */

/**
 * What the page reads of a model's status (serve/documents.py).
 * @typedef {object} EngineStatus
 * @property {State} state
 * @property {Phase | null} phase
 * @property {string | null} detail Of the phase, in English.
 * @property {Message | null} [detail_message]
 * @property {number | null} done Of `total`, in units of the phase.
 * @property {number | null} total
 * @property {Problem | null} cause
 * @property {number} since The Unix time in seconds at which this phase began.
 * @property {string | null} model
 * @property {string | null} next_model The model that is about to replace it.
 */

/**
 * Send the newest frame, of at most `max_pixels`.
 * @typedef {object} Ask
 * @property {"ask"} type
 * @property {number} id
 * @property {number} max_pixels
 */

/**
 * The answer to `prompt` about frame `id` begins.
 * @typedef {object} Begin
 * @property {"begin"} type
 * @property {number} id
 * @property {string} prompt
 * @property {string | null} truth What the scene shows.
 */

/**
 * The next words of answer `id`.
 * @typedef {object} Words
 * @property {"words"} type
 * @property {number} id
 * @property {string} [content]
 * @property {string} [reasoning]
 */

/**
 * Answer `id` is complete.
 * @typedef {object} Done
 * @property {"done"} type
 * @property {number} id
 * @property {number | null} frame_to_request_ms
 * @property {number | null} first_token_ms
 * @property {number} total_ms
 * @property {number | null} prompt_tokens
 * @property {number | null} tokens
 * @property {number | null} tokens_per_s
 * @property {string} finish_reason
 */

/**
 * No more is asked until the next start.
 * @typedef {object} Stopped
 * @property {"stopped"} type
 */

/**
 * Something went wrong; with an `id`, during that answer.
 * @typedef {object} Fault
 * @property {"error"} type
 * @property {string} code
 * @property {string} sentence
 * @property {string} hint
 * @property {Message} message
 * @property {number | null} id
 */

/** @typedef {Start | Stop | NoFrame} PageMessage */
/** @typedef {Status | Ask | Begin | Words | Done | Stopped | Fault} ServerMessage */

const HEADER_BYTES = 12;

/**
 * The binary message with a frame for ask `id`. The server subtracts both times to learn when the frame was taken.
 * @param {number} id
 * @param {number} heldMs How long the page held the ask.
 * @param {number} ageMs How old the frame is now.
 * @param {ArrayBuffer} picture
 */
export function encodeFrame(id, heldMs, ageMs, picture) {
  const message = new Uint8Array(HEADER_BYTES + picture.byteLength);
  const header = new DataView(message.buffer);
  header.setUint32(0, id);
  header.setUint32(4, Math.round(heldMs * 1000));
  header.setUint32(8, Math.round(ageMs * 1000));
  message.set(new Uint8Array(picture), HEADER_BYTES);
  return message;
}

/**
 * The number and the picture of a frame that the server took.
 * @param {ArrayBuffer} message
 * @returns {{ id: number, picture: Blob }}
 */
export function decodeFrame(message) {
  const id = new DataView(message).getUint32(0);
  return { id, picture: new Blob([message.slice(HEADER_BYTES)], { type: "image/jpeg" }) };
}
