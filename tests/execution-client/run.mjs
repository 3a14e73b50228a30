// An execution client that nobody here wrote follows the namespace of a network beside an executor, and comes to the same
// hash for every block.
//
//   node run.mjs [--squad PROGRAM] [--blocks COUNT] [--forks cancun,prague] [--specification DIR] [--random SEED]
//
// Four operators order mixed transactions; for each fork, one executor feeds one EthereumJS client over the Engine API.
// In between the client is killed, then the executor, and each started again. Ends with 1 if anything differs. It needs
// Linux: everything runs in a network of its own, where there is nothing but loopback. With `--specification`, the packages
// of specification.txt lie in DIR, and the first 200 blocks are given to specification.py too.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { genesis } from './genesis.mjs'
import { call, client, endAll, executor, isolated, operators, option, random, specification, tail } from './processes.mjs'
import { senders, traffic } from './traffic.mjs'

// No block takes nearly as long; a hang is a failure.
const LONGEST = 240_000

// One executor with the client that it feeds.
class Pair {
  constructor(fork, at, { program, dir, network, chainId }) {
    this.fork = fork
    this.program = program
    const home = join(dir, fork)
    mkdirSync(home)
    const [genesisFile, jwt] = [join(home, 'rollup.json'), join(home, 'jwt.hex')]
    writeFileSync(genesisFile, JSON.stringify(genesis(fork, chainId, senders)))
    writeFileSync(jwt, randomBytes(32).toString('hex'))
    const ports = { rpc: 31_000 + 10 * at, engine: 31_001 + 10 * at, port: 31_002 + 10 * at }
    this.checked = { fork, genesis: genesisFile, dir: home }
    this.ours = `http://127.0.0.1:${31_003 + 10 * at}`
    this.theirs = `http://127.0.0.1:${ports.rpc}`
    const common = { dir: home, genesis: genesisFile, jwt }
    this.clientOptions = { ...common, ...ports }
    this.executorOptions = { ...common, network, rpc: 31_003 + 10 * at, engine: ports.engine }
    // The executor comes first: it waits for its client.
    this.startExecutor()
    this.startClient()
  }

  startClient() {
    this.client = client(this.clientOptions)
  }

  startExecutor() {
    this.executor = executor(this.program, this.executorOptions)
  }

  check() {
    for (const { running, log } of [this.client, this.executor]) {
      assert(running(), `${this.fork}: a process ended:\n${tail(log)}`)
    }
  }

  async number(url) {
    // Not up yet, or not again.
    const number = await call(url, 'eth_blockNumber').catch(() => '0x0')
    return Number(number)
  }

  // Waits for a block at `who`, as long as new ones come.
  async reaches(who, url, count) {
    let [highest, end] = [-1, 0]
    for (;;) {
      const number = await this.number(url)
      if (number >= count) return
      this.check()
      if (number > highest) [highest, end] = [number, Date.now() + LONGEST]
      if (Date.now() > end) {
        const logs = [this.executor, this.client].map(({ log }) => tail(log)).join('\n--\n')
        throw new Error(`${this.fork}: ${who} stood at block ${highest} for ${LONGEST / 1000} s, short of ${count}\n${logs}`)
      }
      await pause(50)
    }
  }

  clientReaches(count) {
    return this.reaches('the client', this.theirs, count)
  }

  executorReaches(count) {
    return this.reaches('the executor', this.ours, count)
  }

  // Kills each in turn, without warning, while blocks go on.
  async disturb(blocks) {
    await this.clientReaches(Math.floor(blocks / 3))
    await this.client.end('SIGKILL')
    this.startClient()
    await this.clientReaches(Math.floor((2 * blocks) / 3))
    await this.executor.end('SIGKILL')
    this.startExecutor()
    await this.clientReaches(blocks)
  }

  // Every block that the client has by now, field by field.
  async compare() {
    const last = await this.number(this.theirs)
    const receipts = { succeeded: 0, failed: 0, deployed: 0, logs: 0 }
    for (let number = 0; number <= last; number += 1) {
      const at = `0x${number.toString(16)}`
      const [ours, theirs] = await Promise.all(
        [this.ours, this.theirs].map((url) => call(url, 'eth_getBlockByNumber', at, false)),
      )
      for (const field of ['hash', 'stateRoot', 'receiptsRoot', 'transactionsRoot', 'logsBloom', 'gasUsed', 'baseFeePerGas']) {
        assert.equal(theirs[field], ours[field], `${this.fork}: ${field} of block ${number}`)
      }
      assert.deepEqual(theirs.transactions, ours.transactions)
      for (const receipt of await call(this.ours, 'eth_getBlockReceipts', at)) {
        receipts[receipt.status === '0x1' ? 'succeeded' : 'failed'] += 1
        if (receipt.status === '0x1' && receipt.contractAddress) receipts.deployed += 1
        receipts.logs += receipt.logs.length
      }
    }
    for (const [what, count] of Object.entries(receipts)) assert(count > 0, `${this.fork}: no transaction ${what}`)
    return { fork: this.fork, blocks: last, ...receipts }
  }
}

async function main() {
  const program = option('--squad', new URL('../../target/debug/squad', import.meta.url).pathname)
  const blocks = Number(option('--blocks', 30))
  const forks = option('--forks', 'cancun,prague').split(',')
  const dir = mkdtempSync(join(tmpdir(), 'squad-execution-client-'))
  const started = Date.now()
  let failed = false
  try {
    const network = await operators(program, dir)
    const chainId = network.namespaces.find(({ name }) => name === 'evm').kind.evm.chain_id
    const pairs = forks.map((fork, at) => new Pair(fork, at, { program, dir, network, chainId }))
    const sending = traffic(network.operators.map(({ rpc }) => rpc), chainId, { random: random() })
    const disturbing = Promise.all(pairs.map((pair) => pair.disturb(blocks)))
    // Reported where it is awaited.
    disturbing.catch(() => {})
    // The clients are the slowest: when there are enough blocks for them, they need not share the machine with more.
    await Promise.race([disturbing, Promise.all(pairs.map((pair) => pair.executorReaches(blocks)))])
    const sent = await sending.stop()
    await disturbing
    const results = await Promise.all(pairs.map((pair) => pair.compare()))
    const packages = option('--specification')
    const take = ({ checked, ours }, at) => specification(packages, { ...checked, url: ours, count: results[at].blocks })
    for (const said of await Promise.all(packages ? pairs.map(take) : [])) console.log(said)
    console.table(results)
    console.log(`sent: ${JSON.stringify(sent)}`)
    console.log(`every hash and root is the same; ${((Date.now() - started) / 1000).toFixed(0)} s`)
  } catch (error) {
    console.error(error)
    failed = true
  } finally {
    await endAll()
    rmSync(dir, { recursive: true, force: true })
  }
  process.exit(failed ? 1 : 0)
}

await isolated(main)
