// Compiles the contracts with solc of npm into artifacts/: interface and code, which Rust reads without Node.
// With --check, compares instead, and ends with an error if what is committed is not what the sources give.
import { readFileSync, readdirSync, writeFileSync, mkdirSync, existsSync } from 'node:fs'
import { createRequire } from 'node:module'

const solc = createRequire(import.meta.url)('solc')
const here = new URL('.', import.meta.url).pathname
// Those that are put on a chain.
const deployed = ['CertificateVerifier', 'EvidenceVerifier', 'Slasher', 'SquadRegistrar', 'StakeTable', 'TestToken']

const sources = Object.fromEntries(
  readdirSync(`${here}src`)
    .sort()
    .map((name) => [name, { content: readFileSync(`${here}src/${name}`, 'utf8') }]),
)
const settings = {
  optimizer: { enabled: true, runs: 10_000 },
  viaIR: true,
  evmVersion: 'cancun',
  metadata: { bytecodeHash: 'none', appendCBOR: false },
  outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object'] } },
}
const output = JSON.parse(solc.compile(JSON.stringify({ language: 'Solidity', sources, settings })))
const found = output.errors ?? []
if (found.length > 0) {
  console.error(found.map((error) => error.formattedMessage).join('\n'))
  process.exit(1)
}
mkdirSync(`${here}artifacts`, { recursive: true })
let stale = false
for (const name of deployed) {
  const { abi, evm } = output.contracts[`${name}.sol`][name]
  const text = `${JSON.stringify({ contract: name, compiler: solc.version(), abi, bytecode: `0x${evm.bytecode.object}` }, null, 1)}\n`
  const path = `${here}artifacts/${name}.json`
  if (!process.argv.includes('--check')) writeFileSync(path, text)
  else if (!existsSync(path) || readFileSync(path, 'utf8') !== text) {
    console.error(`artifacts/${name}.json is not what the sources give: run "npm run build" in contracts/`)
    stale = true
  }
}
process.exit(stale ? 1 : 0)
