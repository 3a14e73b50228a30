// Foundry's anvil executes the same transactions as an executor, block by block, and comes to the same state.
//
//   node anvil.mjs [--squad PROGRAM] [--blocks COUNT] [--forks cancun,prague,osaka] [--specification DIR] [--random SEED]
//
// Four operators order mixed transactions; for each fork, an executor follows them, and each of its EVM blocks is built
// again by an anvil with the same genesis: same transactions in the same order, timestamp and beneficiary. anvil takes the
// base fee from its own rule. Ends with 1 if anything differs that can be equal. With `--specification`, the packages of
// specification.txt lie in DIR, and the first 200 blocks are given to specification.py too.
//
// Hashes can not be. anvil has no place for a block's extra data, random number and beacon root, and calls no system
// contract at a block's end; so the genesis here has no contract that stores a hash or a root of a block, and those that
// the transactions deploy do not ask for one. And to anvil each account exists, if only as an empty one, which makes the
// first EIP-7702 authorization of an account cheaper; so that account is in the genesis here.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { genesis, systemContracts } from './genesis.mjs'
import { anvil, call, calls, endAll, executor, isolated, operators, option, random, specification, tail } from './processes.mjs'
import { StateRoot } from './state.mjs'
import { senders, setAccount, traffic } from './traffic.mjs'

// Nothing that is waited for takes nearly as long; a hang is a failure.
const LONGEST = 240_000

const words = (text) => text.trim().split(/\s+/)
const EQUAL_IN_BLOCKS = words(`
  number timestamp miner gasLimit gasUsed baseFeePerGas blobGasUsed excessBlobGas receiptsRoot transactionsRoot
  withdrawalsRoot requestsHash logsBloom sha3Uncles difficulty nonce
`)
const EQUAL_IN_RECEIPTS = words(`
  status type gasUsed cumulativeGasUsed effectiveGasPrice contractAddress logsBloom from to transactionIndex transactionHash
`)
const EQUAL_IN_LOGS = words('address topics data logIndex transactionHash')

// One executor, and the anvil that follows it.
class Pair {
  constructor(fork, at, { program, dir, network, chainId }) {
    this.fork = fork
    const home = join(dir, fork)
    mkdirSync(home)
    const rollup = genesis(fork, chainId, [...senders, setAccount], Object.values(systemContracts))
    const genesisFile = join(home, 'rollup.json')
    writeFileSync(genesisFile, JSON.stringify(rollup))
    const [rpc, port] = [31_000 + 10 * at, 31_001 + 10 * at]
    this.ours = `http://127.0.0.1:${rpc}`
    this.theirs = `http://127.0.0.1:${port}`
    this.checked = { fork, genesis: genesisFile, url: this.ours, dir: home }
    this.executor = executor(program, { dir: home, network, genesis: genesisFile, rpc })
    this.anvil = anvil({ dir: home, genesis: genesisFile, fork, gasLimit: Number(rollup.gasLimit), port })
    this.touched = new Set([...senders, ...Object.keys(rollup.alloc)])
    this.counts = { transactions: 0, failed: 0, deployed: 0, logs: 0, 'set code': 0, 'own roots equal': 0 }
    this.state = new StateRoot()
  }

  async until(what, reached) {
    const end = Date.now() + LONGEST
    while (!(await reached())) {
      for (const { running, log } of [this.executor, this.anvil]) {
        assert(running(), `${this.fork}: a process ended:\n${tail(log)}`)
      }
      assert(Date.now() < end, `${this.fork}: waited ${LONGEST / 1000} s for ${what}\n${tail(this.executor.log)}`)
      await pause(50)
    }
  }

  async follow(blocks) {
    const up = (url) => call(url, 'eth_chainId').then(() => true, () => false)
    await this.until('both', async () => (await up(this.ours)) && (await up(this.theirs)))
    // A chain's first base fee follows from its genesis; anvil takes the genesis' own.
    const first = (BigInt((await call(this.ours, 'eth_getBlockByNumber', '0x0', false)).baseFeePerGas) * 7n) / 8n
    await call(this.theirs, 'anvil_setNextBlockBaseFeePerGas', `0x${first.toString(16)}`)
    for (let number = 1; number <= blocks; number += 1) {
      const at = `0x${number.toString(16)}`
      let block
      await this.until(`block ${number}`, async () => (block = await call(this.ours, 'eth_getBlockByNumber', at, true)))
      await this.build(block)
      await this.compare(block, at)
    }
  }

  async executorReaches(blocks) {
    const number = () => call(this.ours, 'eth_blockNumber').catch(() => '0x0')
    for (let next = 1; next <= blocks; next += 1) {
      await this.until(`block ${next}`, async () => Number(await number()) >= next)
    }
  }

  // Has anvil build the block again.
  async build(block) {
    const hashes = block.transactions.map(({ hash }) => [hash])
    const raws = await calls(this.ours, 'eth_getRawTransactionByHash', hashes)
    // One after another: the order in which they arrive is that of the block.
    for (const raw of raws) await call(this.theirs, 'eth_sendRawTransaction', raw)
    await call(this.theirs, 'anvil_setCoinbase', block.miner)
    await call(this.theirs, 'evm_setNextBlockTimestamp', Number(block.timestamp))
    await call(this.theirs, 'evm_mine')
  }

  async compare(block, at) {
    const where = `${this.fork}, block ${Number(at)}`
    const theirs = await call(this.theirs, 'eth_getBlockByNumber', at, false)
    assert.deepEqual(theirs.transactions, block.transactions.map(({ hash }) => hash), `${where}: transactions`)
    const receipts = await Promise.all([this.ours, this.theirs].map((url) => call(url, 'eth_getBlockReceipts', at)))
    for (const [index, ours] of receipts[0].entries()) {
      for (const field of EQUAL_IN_RECEIPTS) {
        assert.deepEqual(receipts[1][index][field], ours[field], `${where}, receipt ${index}: ${field}`)
      }
      const logs = receipts.map((all) => all[index].logs.map((log) => EQUAL_IN_LOGS.map((field) => log[field])))
      assert.deepEqual(logs[1], logs[0], `${where}, receipt ${index}: logs`)
      this.count(ours, block.transactions[index])
    }
    for (const field of EQUAL_IN_BLOCKS) assert.equal(theirs[field], block[field], `${where}: ${field}`)
    this.touched.add(block.miner)
    const root = await this.state.after(await call(this.theirs, 'anvil_dumpState', false))
    assert.equal(root, block.stateRoot, `${where}: stateRoot`)
    if (theirs.stateRoot === block.stateRoot) this.counts['own roots equal'] += 1
  }

  count({ status, contractAddress, logs, from, to }, { type }) {
    this.counts.transactions += 1
    if (status !== '0x1') this.counts.failed += 1
    else if (contractAddress) this.counts.deployed += 1
    if (type === '0x4') this.counts['set code'] += 1
    this.counts.logs += logs.length
    for (const address of [from, to, contractAddress, ...logs.map((log) => log.address)]) {
      if (address) this.touched.add(address)
    }
  }

  // The root covers the whole state; here it is read, account by account, as a wallet reads it.
  async readAll(blocks) {
    const at = `0x${blocks.toString(16)}`
    const addresses = [...this.touched].map((address) => [address, at])
    for (const method of ['eth_getBalance', 'eth_getTransactionCount', 'eth_getCode']) {
      const [ours, theirs] = await Promise.all([this.ours, this.theirs].map((url) => calls(url, method, addresses)))
      assert.deepEqual(theirs, ours, `${this.fork}: ${method}`)
    }
    const first = Array.from({ length: 18 }, (_, slot) => `0x${slot.toString(16)}`)
    const slots = addresses.flatMap(([address]) => first.map((slot) => [address, slot, at]))
    const [ours, theirs] = await Promise.all([this.ours, this.theirs].map((url) => calls(url, 'eth_getStorageAt', slots)))
    assert.deepEqual(theirs, ours, `${this.fork}: eth_getStorageAt`)
    const written = ours.filter((value) => BigInt(value) !== 0n).length
    return { fork: this.fork, blocks, ...this.counts, accounts: addresses.length, 'slots not 0': written }
  }

  async run(blocks) {
    await this.follow(blocks)
    const result = await this.readAll(blocks)
    for (const [what, count] of Object.entries(result)) {
      const mayBeNone = what === 'own roots equal' || (what === 'set code' && this.fork === 'cancun')
      assert(count !== 0 || mayBeNone, `${this.fork}: no ${what}`)
    }
    return result
  }
}

async function main() {
  const program = option('--squad', new URL('../../target/debug/squad', import.meta.url).pathname)
  const blocks = Number(option('--blocks', 200))
  const forks = option('--forks', 'cancun,prague,osaka').split(',')
  const dir = mkdtempSync(join(tmpdir(), 'squad-anvil-'))
  const started = Date.now()
  let failed = false
  try {
    const network = await operators(program, dir)
    const chainId = network.namespaces.find(({ name }) => name === 'evm').kind.evm.chain_id
    const pairs = forks.map((fork, at) => new Pair(fork, at, { program, dir, network, chainId }))
    const sending = traffic(network.operators.map(({ rpc }) => rpc), chainId, { rest: 50, plain: true, random: random() })
    const following = Promise.all(pairs.map((pair) => pair.run(blocks)))
    // Reported where it is awaited.
    following.catch(() => {})
    await Promise.race([following, Promise.all(pairs.map((pair) => pair.executorReaches(blocks)))])
    const sent = await sending.stop()
    const results = await following
    const packages = option('--specification')
    const taken = packages ? pairs.map(({ checked }) => specification(packages, { ...checked, count: blocks })) : []
    for (const said of await Promise.all(taken)) console.log(said)
    console.table(results)
    console.log(`sent: ${JSON.stringify(sent)}`)
    console.log(`every state root, receipt and account is the same; ${((Date.now() - started) / 1000).toFixed(0)} s`)
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
