// The network under test: `squad devnet --l1`, and nodes beside it. What they print is what is waited for.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

// Nothing that is waited for takes nearly as long; a hang is a failure.
const LONGEST = 300_000

// A process that prints a JSON object a line, on `stream`.
class Process {
  constructor(name, program, options, stream, cwd) {
    this.name = name
    this.lines = []
    this.waiting = new Set()
    this.tail = []
    this.child = spawn(program, options, { cwd, stdio: ['pipe', 'pipe', 'pipe'] })
    this.ended = new Promise((resolve) => this.child.once('close', (code) => resolve(code)))
    this.ended.then((code) => (this.code = code ?? 'a signal')).then(() => this.wake())
    this.child.once('error', (error) => (this.code = error.message))
    for (const each of ['stdout', 'stderr']) {
      createInterface({ input: this.child[each] }).on('line', (line) => {
        this.tail = [...this.tail, line].slice(-20)
        // A program that ends with an error says it in words at last.
        if (each === stream && !line.startsWith('error: ')) this.took(JSON.parse(line))
      })
    }
  }

  took(line) {
    this.lines.push(line)
    this.wake()
  }

  wake() {
    for (const look of [...this.waiting]) look()
  }

  // Waits until `check` gives something, looking again with each line that the process prints.
  async until(what, check) {
    const end = Date.now() + LONGEST
    for (;;) {
      const seen = this.lines.length
      const found = await check()
      if (found) return found
      assert(this.code === undefined, `${this.name} ended (${this.code}) before ${what}:\n${this.tail.join('\n')}`)
      assert(Date.now() < end, `waited ${LONGEST / 1000} s for ${what}; ${this.name} says\n${this.tail.join('\n')}`)
      if (this.lines.length > seen) continue
      await new Promise((resolve) => {
        const look = () => {
          clearTimeout(timer)
          this.waiting.delete(look)
          resolve()
        }
        const timer = setTimeout(look, end - Date.now())
        this.waiting.add(look)
      })
    }
  }

  // The first line from place `from` on that `fits`.
  line(what, fits, from = 0) {
    return this.until(what, () => this.lines.slice(from).find(fits))
  }

  async stop(signal = 'SIGINT') {
    this.child.kill(signal)
    return this.ended
  }
}

export class Devnet extends Process {
  constructor(program, dir, options, cwd) {
    const all = ['devnet', '--json', '--l1', '--operators', '4', '--executors', '0', '--dir', dir, ...options]
    super('the devnet', program, all, 'stdout', cwd)
  }

  ready() {
    return this.line('it is ready', (line) => line.event === 'ready')
  }

  // The next epoch that begins from now on with a committee that `fits`.
  epoch(what, fits) {
    return this.line(what, (line) => line.event === 'epoch' && fits(line.members), this.lines.length)
  }

  // The next block from now on that `fits`.
  block(what, fits = () => true) {
    return this.line(what, (line) => line.event === 'block' && fits(line), this.lines.length)
  }
}

export class Node extends Process {
  constructor(name, program, config, more = []) {
    const options = ['node', '--config', config, '--insecure-plaintext-key', '--log-format', 'json', '--exit-with-stdin', ...more]
    super(name, program, options, 'stderr')
  }

  // What the log says of something, once it does.
  async says(message) {
    const line = await this.line(message, (line) => (line.message ?? line.fields?.message ?? '').startsWith(message))
    return line.fields ?? line
  }
}

// What a command prints; it has to succeed.
export function run(program, options) {
  return new Promise((resolve, reject) => {
    execFile(program, options, { maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      if (error) reject(new Error(`squad ${options.join(' ')}: ${stderr}`))
      else resolve(stdout)
    })
  })
}

// What an operator or the chain answers.
export async function ask(url, method, ...params) {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
  const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  const { result, error } = await answer.json()
  if (error) throw new Error(`${method}: ${error.message} ${JSON.stringify(error.data ?? '')}`)
  return result
}
