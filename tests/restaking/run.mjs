// The life of stake, on the programs that people run: `squad devnet --l1` with EigenLayer's core on anvil.
//
//   node run.mjs [--squad PROGRAM] [--keep]
//
// Four operators restake and order blocks. One of them deposits more and weighs more; a fifth joins; it runs with one key twice,
// is caught, slashed and left out; another has a new key. Meanwhile no height is missing, and a contract takes confirmations from
// before and after.
// Ends with 1 if anything is otherwise. With `--keep` the directory stays.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Chain, WAD } from './eigenlayer.mjs'
import { Fifth, rpc } from './fifth.mjs'
import { Devnet, ask, run } from './processes.mjs'

const repository = new URL('../..', import.meta.url).pathname
const UNITS = 1_000_000n

function option(name) {
  const at = process.argv.indexOf(name)
  return at < 0 ? undefined : process.argv[at + 1]
}

function anvil() {
  const { platform, arch } = process
  const name = `@foundry-rs/anvil-${platform}-${arch === 'x64' ? 'amd64' : arch}`
  return join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), 'bin/anvil')
}

const began = Date.now()
function say(what) {
  console.log(`${((Date.now() - began) / 1000).toFixed(1).padStart(6)} s  ${what}`)
}

const stakeOf = (members, key) => BigInt(members.find(({ address }) => address === key)?.stake ?? 0)

// A transaction that is ordered, with what shows it to a contract.
async function confirmed(program, dir, operator, name) {
  const file = (what) => join(dir, `${name}.${what}.json`)
  await run(program, ['submit', '--rpc', operator, '--namespace', 'bytes', '--text', name, '--out', file('confirmation')])
  const genesis = join(dir, 'network', 'genesis.json')
  const saved = ['--save-pin', file('pin'), '--save-bytes', file('bytes')]
  await run(program, ['verify', file('confirmation'), '--genesis', genesis, '--rpc', operator, ...saved])
  const read = (what) => JSON.parse(readFileSync(file(what), 'utf8'))
  return { pin: read('pin'), bytes: read('bytes') }
}

// In one region, so that operators know each other's addresses from their configuration alone, and whoever joins is known to those
// that it dials.
function devnetIn({ program, dir, running }) {
  const core = join(repository, 'contracts/core/v1.4.json')
  const options = ['--anvil', anvil(), '--core', core, '--regions', 'us-east-1']
  const devnet = new Devnet(program, join(dir, 'network'), options, repository)
  running.add(devnet)
  return devnet
}

async function begin(context) {
  const devnet = devnetIn(context)
  const network = await devnet.ready()
  say(`ready: EigenLayer took ${network.l1.gas.eigenlayer} gas, the network's contracts ${network.l1.gas.network}`)
  await devnet.block('a block')
  say('blocks are ordered')
  const first = await devnet.block('the chain is looked at', ({ l1_block }) => l1_block > 0)
  const { members } = await devnet.line('its next committee', ({ event, epoch }) => event === 'epoch' && epoch === first.epoch + 1)
  assert.deepEqual(members.map(({ address }) => address).sort(), network.operators.map(({ id }) => id).sort())
  say(`epoch ${first.epoch + 1} has the committee of the chain's block ${first.l1_block}`)
  return { devnet, network, chain: new Chain(network.l1) }
}

// (a) What an operator deposits counts.
async function deposits({ devnet, network, chain }) {
  const [{ account, key }] = network.l1.operators
  const before = BigInt(devnet.lines.findLast(({ event }) => event === 'epoch').members.find(({ address }) => address === key).stake)
  await chain.deposit(account, 100n * WAD)
  // A hundred of each token, of which the bond counts a twentieth.
  const expected = before + 105n * UNITS
  await devnet.epoch('the deposit counts', (members) => stakeOf(members, key) === expected)
  say(`an operator deposited, and weighs ${expected} in place of ${before}`)
}

// (b) Whoever restakes joins.
async function joins({ program, dir, running, devnet, network, chain }) {
  const fifth = new Fifth(program, dir, network)
  const node = fifth.start('fifth', [0, 1, 2, 3])
  running.add(node)
  // So little that the three that each of the two will see later are over two thirds without it.
  await chain.fund(fifth.account)
  await chain.deposit(fifth.account, 300n * WAD)
  const { address } = await node.says('listening for peers')
  assert.match(await fifth.doctor(node), /it follows, at height \d+, and takes no transactions: its operator is not in the committee/)
  const register = ['register', '--insecure-plaintext-key', '--address', address, '--yes']
  await fifth.operator(...register, '--as-operator')
  await chain.pass('ALLOCATION_CONFIGURATION_DELAY')
  await assert.rejects(fifth.operator(...register), /allocate/, 'it has nothing at stake yet')
  await fifth.operator('allocate', '--fraction', '1', '--yes')
  await fifth.operator(...register)
  const { epoch } = await devnet.epoch('the fifth operator is in a committee', (members) => stakeOf(members, fifth.key) > 0n)
  say(`a fifth operator registered, and is in the committee of epoch ${epoch}`)
  await devnet.block('the fifth operator proposes', ({ proposer }) => proposer === fifth.key)
  say('its block was ordered')
  return { fifth, node }
}

const kindOf = (evidence) => Number(evidence.slice(2, 4))

// An operator's evidence, as files in a directory.
async function listed(program, operator, out) {
  await run(program, ['evidence', 'list', '--rpc', operator, '--out', out])
  return readdirSync(out).map((name) => JSON.parse(readFileSync(join(out, name), 'utf8')))
}

// (c) Whoever runs twice with one key is caught. The second has a copy of the first one's identity on the network, and nothing else
// of its directory. By itself it signs nothing: those that hear the first one tell it, and it ends. Then it is told not to care.
// The first one is connected to three of the four, the second dials three as well and is heard by the one that is left.
async function contradicts({ program, dir, running, devnet, network, chain, fifth, node }) {
  assert.equal(await node.stop(), 0)
  running.delete(node)
  const first = fifth.start('fifth', [0, 1, 2])
  running.add(first)
  await first.says('signing begins')
  const careful = fifth.start('careful', [1, 2, 3], { other: first })
  running.add(careful)
  await careful.says("another node runs with this operator's key")
  assert.equal(await careful.ended, 1)
  running.delete(careful)
  assert(!careful.lines.some((line) => JSON.stringify(line).includes('signing begins')), 'it signed')
  say('a second node with its key was told of the first one, signed nothing, and ended')
  // Somebody who only follows, and takes stake for what it finds.
  const watcher = new Fifth(program, dir, network)
  await chain.fund(watcher.account)
  const reporter = watcher.start('watcher', [0, 1, 2, 3], { reports: true })
  running.add(reporter)
  await reporter.says('evidence is sent to the settlement layer')
  const before = await chain.stakes(fifth.account)
  const second = fifth.start('twin', [1, 2, 3], { other: first, options: ['--insecure-unguarded'] })
  running.add(second)
  await second.says('signing begins')
  const twins = [first, second]
  const honest = network.operators[0].rpc
  const out = join(dir, 'evidence')
  let answers
  const urls = await Promise.all(twins.map(rpc))
  const files = await devnet.until('evidence against the fifth operator', async () => {
    // Each is given something else.
    const { chain_time } = await ask(honest, 'squad_status')
    const sent = urls.map((url, at) => {
      const transaction = { namespace: 'bytes', data: `0x0${at}`, valid_until: chain_time + 8_000, wait: 'batched' }
      return ask(url, 'squad_sendTransaction', transaction).then(() => 'taken', (error) => error.message)
    })
    answers = await Promise.all(sent)
    if ((await ask(honest, 'squad_evidence')).length === 0) return undefined
    return listed(program, honest, out)
  })
  const [evidence] = files
  assert.equal(evidence.accused, fifth.key, `the two were answered ${answers}`)
  say(`it was run twice, and caught at ${['two votes', 'two proposals', 'two batches', 'two acks'][kindOf(evidence.bytes)]}`)

  for (const twin of twins) {
    assert.equal(await twin.stop(), 0)
    running.delete(twin)
  }

  const took = () => reporter.lines.filter((line) => JSON.stringify(line).includes('stake was taken of an operator')).length
  await devnet.until('the follower has sent all', async () => took() > 0 && took() === (await ask(honest, 'squad_evidence')).length)
  const all = await listed(program, honest, join(dir, 'all-evidence'))
  const fractions = await Promise.all(all.map(({ bytes }) => chain.fraction(kindOf(bytes))))
  const after = await chain.stakes(fifth.account)
  before.forEach((had, at) => {
    const left = (amount) => fractions.reduce((kept, fraction) => kept - (kept * fraction) / WAD, amount)
    // Of several, the order is not known, and each is rounded.
    const isLeft = (amount, of) => [amount - left(of), left(of) - amount].every((more) => more < BigInt(all.length))
    assert(isLeft(after[at].magnitude, had.magnitude), 'its magnitude')
    assert(isLeft(after[at].shares, had.shares), 'its shares')
  })
  const submit = ['evidence', 'submit', join(out, readdirSync(out)[0]), '--config', join(network.dir, 'operator-1', 'node.toml')]
  const purse = ['--account', network.l1.operators[0].account_key, '--insecure-plaintext-account', '--yes']
  await assert.rejects(run(program, [...submit, ...purse]), /was slashed for it/, 'it is slashed again')
  assert(await chain.isTombstoned(fifth.account))
  say(`a follower had it slashed (incidents: ${all.length}): ${after[0].shares / WAD} of ${before[0].shares / WAD} shares are left`)
  const { epoch } = await devnet.epoch('a committee without it', (members) => stakeOf(members, fifth.key) === 0n)
  say(`epoch ${epoch} is without it`)
  await devnet.block('a block of that committee', (block) => block.epoch === epoch)
}

// (d) An operator's new key comes into committees in place of the old one.
async function rotates({ program, dir, running, devnet, network }) {
  const { account_key: account, key } = network.l1.operators[3]
  const heir = new Fifth(program, dir, network)
  running.add(heir.start('heir', [0, 1, 2, 3]))
  const config = ['--config', join(network.dir, 'operator-4', 'node.toml')]
  const keys = ['--plaintext-key', join(dir, 'heir', 'key.hex'), '--insecure-plaintext-key']
  await run(program, ['operator', 'rotate-key', ...config, '--account', account, '--insecure-plaintext-account', ...keys, '--yes'])
  const replaced = (members) => stakeOf(members, heir.key) > 0n && stakeOf(members, key) === 0n
  const { epoch } = await devnet.epoch('a committee with the new key', replaced)
  await devnet.block('the new key proposes', ({ proposer }) => proposer === heir.key)
  say(`an operator has a new key, which is in the committee of epoch ${epoch} and proposes`)
}

// (e) A contract follows the committees, and takes what was ordered before and after.
async function bridges({ program, dir, network, chain }, early) {
  const operator = network.operators[0].rpc
  const late = await confirmed(program, dir, operator, 'after')
  await chain.deployVerifier(network.l1.owner, early.pin)
  assert.equal(Number(await chain.newest()), early.pin.epoch)
  const proofs = []
  for (let epoch = early.pin.epoch + 1; epoch <= late.pin.epoch; epoch += 1) {
    proofs.push(await ask(operator, 'squad_getCommitteeProof', epoch))
  }
  assert(proofs.length > 0, 'both are of one epoch')
  await chain.advance(network.l1.owner, early.bytes.committee, proofs)
  for (const { bytes, pin } of [early, late]) {
    const shown = await chain.verify(bytes)
    assert.equal(Number(shown.epoch), pin.epoch)
  }
  say(`a contract takes a confirmation of epoch ${early.pin.epoch} and one of epoch ${late.pin.epoch}`)
}

// No height is missing, and all operators have the same.
async function whole({ devnet, network }, nodes) {
  const hashes = new Map(devnet.lines.filter(({ event }) => event === 'block').map(({ height, hash }) => [height, hash]))
  const urls = [...network.operators.map((operator) => operator.rpc), ...nodes]
  const heights = await Promise.all(urls.map(async (url) => (await ask(url, 'squad_status')).height))
  const height = Math.min(...heights)
  for (let at = 1; at <= height; at += 1) {
    const headers = await Promise.all(urls.map((url) => ask(url, 'squad_getHeader', at)))
    headers.forEach(({ header }) => assert.deepEqual(header, headers[0].header, `height ${at}`))
    assert.equal(headers[0].header.height, at)
    const before = at === 1 ? network.network_id : hashes.get(at - 1)
    // The devnet tells of blocks from its first look on.
    if (before !== undefined || at > 3) assert.equal(headers[0].header.parent_hash, before, `the parent of height ${at}`)
  }
  say(`${urls.length} operators have the same ${height} heights`)
}

// A second start goes on with the same network and the same chain.
async function proceeds(context) {
  const last = context.devnet.lines.findLast(({ event }) => event === 'block')
  const devnet = devnetIn(context)
  const { network_id, l1 } = await devnet.ready()
  assert.equal(network_id, context.network.network_id)
  assert.equal(l1.stake_table, context.network.l1.stake_table)
  const { height } = await devnet.block('the chain is looked at again', ({ l1_block }) => l1_block > last.l1_block)
  assert(height > last.height)
  say('a second start continues both chains')
}

async function end(running) {
  for (const process of [...running].reverse()) {
    assert.equal(await process.stop(), 0, `${process.name} did not end well`)
    running.delete(process)
  }
}

async function main() {
  const program = option('--squad') ?? join(repository, 'target/debug/squad')
  execFileSync(process.execPath, [join(repository, 'contracts/core.mjs')], { stdio: 'inherit' })
  const dir = mkdtempSync(join(tmpdir(), 'squad-restaking-'))
  const running = new Set()
  try {
    const context = { program, dir, running }
    Object.assign(context, await begin(context))
    const early = await confirmed(program, dir, context.network.operators[0].rpc, 'before')
    await deposits(context)
    const joined = await joins(context)
    await whole(context, [await rpc(joined.node)])
    await contradicts({ ...context, ...joined })
    await rotates(context)
    await bridges(context, early)
    await whole(context, [])
    await end(running)
    await proceeds(context)
    await end(running)
    say('all ended')
  } finally {
    await Promise.all([...running].map((process) => process.stop()))
    if (process.argv.includes('--keep')) console.log(dir)
    else rmSync(dir, { recursive: true, force: true })
  }
}

await main()
