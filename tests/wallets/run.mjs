// Runs every client against one executor and prints what each did, as the table in docs/rollups.md.
//
//   node run.mjs [--squad PROGRAM | --rpc URL] [--write]
//
// `--write` puts the table into docs/rollups.md if everything passed.
// Without options it starts a devnet with target/debug/squad. Each client uses an account of its own, so they run side
// by side. Ends with 1 if anything failed.
import { readFileSync, writeFileSync } from 'node:fs'
import { build, run as alloy } from './alloy.mjs'
import { compile, compilerVersion } from './compile.mjs'
import { devnet } from './network.mjs'
import { run as ethers } from './ethers.mjs'
import { cast, forge } from './foundry.mjs'
import { run as metamask } from './metamask.mjs'
import { run as viem } from './viem.mjs'

// The first accounts of the mnemonic 'test … junk'; everybody knows these keys.
const keys = [
  '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80',
  '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d',
  '0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a',
  '0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6',
  '0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a',
  '0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba',
]

// A client that hangs is a failure, and must not hang this.
const LONGEST = 240_000

function option(name) {
  const at = process.argv.indexOf(name)
  return at < 0 ? undefined : process.argv[at + 1]
}

// Collects what a client did; `step` names it, and a failure says in which step.
async function client(name, run, context) {
  const done = []
  let version = '?'
  let current = 'start'
  const step = async (what, work) => {
    current = what
    const value = await work()
    done.push(what)
    return value
  }
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing happened for ${LONGEST / 1000} s`)), LONGEST)
  })
  try {
    const named = (found) => (version = found)
    await Promise.race([run({ ...context, step, named }), late])
    return { name, version, done }
  } catch (error) {
    return { name, version, done, failure: `${current}: ${error.stack ?? error}` }
  } finally {
    clearTimeout(timer)
  }
}

function write(table) {
  const page = new URL('../../docs/rollups.md', import.meta.url)
  const marked = /(<!-- wallets: begin -->\n)[^]*(<!-- wallets: end -->)/
  writeFileSync(page, readFileSync(page, 'utf8').replace(marked, (_, begin, end) => `${begin}\n${table}\n\n${end}`))
}

async function main() {
  const program = option('--squad') ?? new URL('../../target/debug/squad', import.meta.url).pathname
  const given = option('--rpc')
  build()
  const network = given ? { rpc: given, stop: async () => {} } : await devnet(program)
  const results = []
  try {
    const counter = compile()
    const { rpc, operator } = network
    const context = (at) => ({ rpc, ws: rpc.replace(/^http/, 'ws'), operator, key: keys[at], counter })
    const clients = [
      ['viem', viem],
      ['ethers', ethers],
      ['MetaMask', metamask],
      ['cast', cast],
      ['forge', forge],
      ['alloy', alloy],
    ]
    results.push(...(await Promise.all(clients.map(([name, run], at) => client(name, run, context(at))))))
  } finally {
    await network.stop()
  }
  const rows = results.map(({ name, version, done }) => `| ${name} | ${version} | ${done.join('; ')} |`)
  const heading = ['| client | version | what it did |', '| --- | --- | --- |']
  const table = [...heading, ...rows, '', `Contracts were compiled with solc ${compilerVersion} from npm.`].join('\n')
  console.log(table)
  const failed = results.filter((result) => result.failure)
  for (const { name, failure } of failed) console.error(`\n${name} failed at ${failure}`)
  if (process.argv.includes('--write') && failed.length === 0) write(table)
  // Sockets that a client left open shall not keep the process.
  process.exit(failed.length > 0 ? 1 : 0)
}

await main()
