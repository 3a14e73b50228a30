// alloy, as a Rust program uses it: alloy/src/main.rs does the steps and prints each when it is done.
import { spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'

const manifest = new URL('alloy/Cargo.toml', import.meta.url).pathname
const target = new URL('../../target/wallets', import.meta.url).pathname

// Compiles it, which may take minutes: before anything is timed.
export function build() {
  const options = ['build', '--quiet', '--locked', '--manifest-path', manifest, '--target-dir', target]
  const { status, error } = spawnSync('cargo', options, { stdio: 'inherit' })
  if (status !== 0) throw new Error(`the client with alloy does not build: ${error?.message ?? `status ${status}`}`)
}

export async function run({ rpc, key, counter: { bytecode }, step, named }) {
  const child = spawn(`${target}/debug/squad-wallets-alloy`, [rpc, key, bytecode], { stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = new Promise((resolve, reject) => child.once('error', reject).once('close', resolve))
  let failure = ''
  child.stderr.on('data', (text) => (failure += text))
  let lines = 0
  for await (const line of createInterface({ input: child.stdout })) {
    if (lines === 0) named(line)
    else await step(line, async () => {})
    lines += 1
  }
  if ((await ended) !== 0) throw new Error(failure)
}
