// The processes of the test: every one is ended by the process that started it.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'

const children = new Set()
// Blocks for the specification: it computes each state root from the whole state, so their cost grows with their number.
const SPECIFIED = 200
// Requests in one batch.
const BATCH = 500

export function option(name, otherwise) {
  const at = process.argv.indexOf(name)
  return at < 0 ? otherwise : process.argv[at + 1]
}

// The seed of random contracts, if there shall be any.
export function random() {
  const seed = option('--random')
  return seed === undefined ? undefined : Number(seed)
}

// Runs `main` in a network of its own, with nothing but loopback: a client may open a port for peers on every address, and
// ports need not be looked for.
export async function isolated(main) {
  if (process.argv.includes('--isolated')) return main()
  const again = [process.execPath, ...process.argv.slice(1), '--isolated']
  const script = 'ip link set lo up && exec "$@"'
  const run = spawnSync('unshare', ['--map-root-user', '--net', 'sh', '-c', script, 'sh', ...again], { stdio: 'inherit' })
  if (run.error) console.error(`cannot make a network of its own: ${run.error.message}; it takes util-linux and iproute2`)
  process.exit(run.status ?? 1)
}

function start(command, args, log, stdio, env = {}) {
  const out = openSync(log, 'a')
  const child = spawn(command, args, { stdio: ['ignore', stdio ?? out, out], env: { ...process.env, ...env } })
  closeSync(out)
  const ended = once(child, 'exit')
  children.add(child)
  ended.then(() => children.delete(child))
  const end = async (signal) => {
    child.kill(signal)
    await ended
  }
  return { child, log, ended, end, running: () => child.exitCode === null && child.signalCode === null }
}

export async function endAll() {
  await Promise.all([...children].map((child) => (child.kill('SIGINT'), once(child, 'exit'))))
}

// The end of a process's log, for a message.
export function tail(log, lines = 25) {
  return readFileSync(log, 'utf8').trim().split('\n').slice(-lines).join('\n')
}

// Four operators; resolves with what they say when they are ready.
export async function operators(program, dir) {
  const options = ['devnet', '--json', '--operators', '4', '--executors', '0', '--dir', join(dir, 'network')]
  const devnet = start(program, options, join(dir, 'devnet.log'), 'pipe')
  const ready = new Promise((resolve, reject) => {
    devnet.ended.then(() => reject(new Error(`the operators ended:\n${tail(devnet.log)}`)))
    createInterface({ input: devnet.child.stdout }).on('line', (line) => {
      const event = JSON.parse(line)
      if (event.event === 'ready') resolve(event)
    })
  })
  return ready
}

export function executor(program, { dir, network, genesis, jwt, rpc, engine }) {
  const urls = network.operators.map((operator) => operator.grpc).join(',')
  const options = ['executor', '--operators', urls, '--genesis', join(network.dir, 'genesis.json')]
  options.push('--namespace', 'evm', '--data-dir', join(dir, 'executor'), '--genesis-file', genesis)
  options.push('--rpc-listen', `127.0.0.1:${rpc}`)
  if (engine) options.push('--engine', `http://127.0.0.1:${engine}`, '--engine-jwt', jwt)
  return start(program, options, join(dir, 'executor.log'))
}

// The client as it comes from npm. It has no peers: it listens in a network of its own, and looks for none.
export function client({ dir, genesis, jwt, rpc, engine, port }) {
  const program = new URL('node_modules/@ethereumjs/client/dist/esm/bin/cli.js', import.meta.url).pathname
  const options = ['--gethGenesis', genesis, '--dataDir', join(dir, 'client'), '--jwtSecret', jwt]
  options.push('--rpc', '--rpcAddr', '127.0.0.1', '--rpcPort', rpc, '--port', port)
  options.push('--rpcEngine', '--rpcEngineAddr', '127.0.0.1', '--rpcEnginePort', engine)
  options.push('--sync', 'none', '--isSingleNode', '--discV4', 'false', '--discDns', 'false', '--logLevel', 'info')
  return start(process.execPath, [program, ...options.map(String)], join(dir, 'client.log'))
}

// Foundry's node as it comes from npm, with nothing in its state but what the genesis has.
export function anvil({ dir, genesis, fork, gasLimit, port }) {
  const arch = process.arch === 'x64' ? 'amd64' : process.arch
  const manifest = createRequire(import.meta.url).resolve(`@foundry-rs/anvil-${process.platform}-${arch}/package.json`)
  const options = ['--init', genesis, '--hardfork', fork, '--gas-limit', gasLimit, '--port', port, '--quiet']
  options.push('--accounts', 0, '--disable-default-create2-deployer', '--no-mining', '--order', 'fifo')
  options.push('--disable-min-priority-fee', '--disable-pool-balance-checks', '--transaction-block-keeper', 8)
  return start(join(dirname(manifest), 'bin', 'anvil'), options.map(String), join(dir, 'anvil.log'))
}

// Ethereum's executable specification, whose packages lie in `packages`, takes the first of an executor's `count` blocks;
// says how many, or throws.
export async function specification(packages, { fork, genesis, url, dir, count }) {
  const program = new URL('specification.py', import.meta.url).pathname
  const args = [program, fork, genesis, url, String(Math.min(count, SPECIFIED))]
  const run = start('python3', args, join(dir, 'specification.log'), undefined, { PYTHONPATH: packages })
  const [code] = await run.ended
  if (code !== 0) throw new Error(`the specification refuses a block: ${tail(run.log)}`)
  return tail(run.log, 1)
}

async function post(url, body) {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
  return response.json()
}

const request = (method, params, id) => ({ jsonrpc: '2.0', id, method, params })

function result({ error, result }, method) {
  if (error) throw new Error(`${method}: ${error.message} (${error.code})`)
  return result
}

// A JSON-RPC call.
export async function call(url, method, ...params) {
  return result(await post(url, request(method, params, 1)), method)
}

// The same method for each of many parameters, some hundred in one request; the results in their order.
export async function calls(url, method, each) {
  const results = []
  for (let from = 0; from < each.length; from += BATCH) {
    const answers = await post(url, each.slice(from, from + BATCH).map((params, id) => request(method, params, id)))
    if (!Array.isArray(answers)) result(answers, method)
    results.push(...answers.toSorted((one, other) => one.id - other.id).map((answer) => result(answer, method)))
  }
  assert.equal(results.length, each.length, `${method}: answers are missing`)
  return results
}
