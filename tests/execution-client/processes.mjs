// The processes of the test: every one is ended by the process that started it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const children = new Set()

function start(command, args, log, stdio) {
  const out = openSync(log, 'a')
  const child = spawn(command, args, { stdio: ['ignore', stdio ?? out, out] })
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
  options.push('--rpc-listen', `127.0.0.1:${rpc}`, '--engine', `http://127.0.0.1:${engine}`, '--engine-jwt', jwt)
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

// A JSON-RPC call.
export async function call(url, method, ...params) {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
  const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  const answer = await response.json()
  if (answer.error) throw new Error(`${method}: ${answer.error.message} (${answer.error.code})`)
  return answer.result
}
