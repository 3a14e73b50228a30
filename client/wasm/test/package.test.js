// The package in Node: the answers of the sample, which squad-client's own tests hold to be its own.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { load } from "../npm/index.js";

const sample = JSON.parse(await readFile(new URL("./sample.json", import.meta.url), "utf8"));
const verifier = await load();

test("each tier of the sample is answered as the library answers it", () => {
  assert.equal(sample.questions.length, 3);
  sample.questions.forEach((question, at) => assert.deepEqual(verifier.verify(question), sample.answers[at]));
});

test("any changed digit of a confirmation is refused", () => {
  for (const question of sample.questions) {
    const text = JSON.stringify(question.confirmation);
    const digits = [...text.matchAll(/0x[0-9a-f]{8,}/g)].map((match) => match.index + match[0].length - 1);
    assert.ok(digits.length > 5);
    for (const at of digits) {
      const other = text[at] === "0" ? "1" : "0";
      const confirmation = JSON.parse(text.slice(0, at) + other + text.slice(at + 1));
      assert.equal(verifier.verify({ ...question, confirmation }).valid, false, text.slice(at - 70, at + 1));
    }
  }
});

test("without a time, this machine's clock counts", () => {
  const { now, ...question } = sample.questions[2];
  const answer = verifier.verify(question);
  // The sample's network is of a week in September 2026: whatever the clock says, it was asked.
  const age = Date.now() - now;
  assert.equal(answer.valid, age > -3_600_000 && age < (7 * 24 - 1) * 3_600_000, answer.reason);
});

test("nonsense is answered, not thrown, and the verifier goes on", () => {
  for (const question of [{}, { confirmation: 1 }, { confirmation: {}, genesis: {} }, { unknown: "x".repeat(1 << 20) }]) {
    assert.equal(verifier.verify(question).part, "form");
  }
  assert.equal(verifier.verify(sample.questions[2]).valid, true);
});
