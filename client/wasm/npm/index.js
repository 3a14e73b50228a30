// Checks confirmations offline. The WebAssembly module beside this file does the work; it imports nothing, so it can reach
// neither a network nor a clock.

/** The module's bytes, from the file beside this one. */
async function own() {
  const place = new URL("./verifier.wasm", import.meta.url);
  if (place.protocol !== "file:") {
    const answer = await fetch(place);
    if (!answer.ok) throw new Error(`${place} answers ${answer.status}: serve verifier.wasm beside index.js`);
    return await answer.arrayBuffer();
  }
  const { readFile } = await import("node:fs/promises");
  return await readFile(place);
}

/**
 * Loads the verifier.
 * @param {BufferSource} [bytes] the module, where it comes from somewhere else than the file beside this one
 */
export async function load(bytes) {
  const { instance } = await WebAssembly.instantiate(bytes ?? (await own()), {});
  const { question, verify, answer, memory } = instance.exports;
  return {
    verify(asked) {
      const text = new TextEncoder().encode(JSON.stringify({ now: Date.now(), ...asked }));
      const place = question(text.length);
      if (place === 0) {
        return { valid: false, part: "form", reason: `the question has ${text.length} bytes, more than are read` };
      }
      // The memory's buffer changes whenever it grows: take it anew each time.
      new Uint8Array(memory.buffer, place, text.length).set(text);
      const length = verify();
      return JSON.parse(new TextDecoder().decode(new Uint8Array(memory.buffer, answer(), length)));
    },
  };
}
