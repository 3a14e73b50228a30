// Puts EigenLayer's core into core/, for the tests and for `squad devnet --l1`, as creation code by name. Its licence (BUSL-1.1)
// allows that and does not allow us to hand it on, so it is fetched and never committed.
//
//     node core.mjs                  v1.4 from a crate that carries it; nothing is fetched a second time
//     node core.mjs --checkout DIR   compiled from a checkout of eigenlayer-contracts with its submodules, v1.9 or later
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { homedir, tmpdir } from 'node:os'
import { dirname, join, normalize } from 'node:path'
import { gunzipSync } from 'node:zlib'

const here = new URL('.', import.meta.url).pathname
const [name, version] = ['eigenlayer-contract-deployer', '0.4.0']
const crate = `${name}-${version}`
const checksum = 'df259858472ebcda21942b9994352c9d09ea34c0ab4173e29b0319441082bc51'
const fromCrate = {
  AVSDirectory: 'avs_directory',
  AllocationManager: 'allocation_manager',
  DelegationManager: 'delegation_manager',
  EigenPod: 'eigen_pod',
  EigenPodManager: 'eigen_pod_manager',
  PauserRegistry: 'pauser_registry',
  PermissionController: 'permission_controller',
  ProxyAdmin: 'proxy_admin',
  StrategyBase: 'strategy_base',
  StrategyFactory: 'strategy_factory',
  StrategyManager: 'strategy_manager',
  TransparentUpgradeableProxy: 'transparent_upgradeable_proxy',
  UpgradeableBeacon: 'upgradeable_beacon',
}
const fromSource = {
  AllocationManager: 'src/contracts/core/AllocationManager.sol',
  AllocationManagerView: 'src/contracts/core/AllocationManagerView.sol',
  DelegationManager: 'src/contracts/core/DelegationManager.sol',
  PauserRegistry: 'src/contracts/permissions/PauserRegistry.sol',
  PermissionController: 'src/contracts/permissions/PermissionController.sol',
  StrategyBase: 'src/contracts/strategies/StrategyBase.sol',
  StrategyManager: 'src/contracts/core/StrategyManager.sol',
}

// The files of an uncompressed tar archive.
function* files(tar) {
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    const name = tar.toString('latin1', at, at + 100).replace(/\0.*$/s, '')
    const size = parseInt(tar.toString('latin1', at + 124, at + 136), 8)
    yield [name, tar.subarray(at + 512, at + 512 + size)]
    at += 512 + Math.ceil(size / 512) * 512
  }
}

// What a byte string of Rust stands for.
function unescape(text) {
  const plain = { n: 10, r: 13, t: 9, 0: 0, '\\': 92, "'": 39, '"': 34 }
  const bytes = []
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== '\\') bytes.push(text.charCodeAt(at))
    else if (text[++at] === 'x') bytes.push(parseInt(text.slice(at + 1, (at += 2) + 1), 16))
    else bytes.push(plain[text[at]])
  }
  return Buffer.from(bytes)
}

// The crate as cargo keeps it, fetched by whatever way cargo goes on this machine; nothing of it is built.
function packedCrate() {
  execFileSync('cargo', ['info', '--quiet', `${name}@${version}`], { cwd: tmpdir(), stdio: ['ignore', 'ignore', 'inherit'] })
  const cache = join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'registry/cache')
  const path = readdirSync(cache).map((registry) => join(cache, registry, `${crate}.crate`)).find(existsSync)
  if (!path) throw new Error(`cargo did not leave ${crate}.crate under ${cache}: is CARGO_HOME what cargo uses?`)
  const packed = readFileSync(path)
  const found = createHash('sha256').update(packed).digest('hex')
  if (found !== checksum) throw new Error(`${path} has the sha256 ${found}, expected ${checksum}: remove it, and try again`)
  return packed
}

function crateCode() {
  const packed = packedCrate()
  const sources = Object.fromEntries(files(gunzipSync(packed)))
  const code = Object.entries(fromCrate).map(([name, file]) => {
    const source = sources[`${crate}/src/bindings/core/${file}.rs`].toString('utf8')
    const [, text] = source.match(/pub static BYTECODE[^=]*=\s*[^(]*\(\s*b"((?:[^"\\]|\\.)*)"/s)
    return [name, `0x${unescape(text).toString('hex')}`]
  })
  return Object.fromEntries(code)
}

function compiled(checkout) {
  const solc = createRequire(import.meta.url)('solc')
  const mapped = [
    ['@openzeppelin/', 'lib/openzeppelin-contracts-v4.9.0/'],
    ['@openzeppelin-upgrades/', 'lib/openzeppelin-contracts-upgradeable-v4.9.0/'],
  ]
  const sources = {}
  const add = (name) => {
    if (sources[name]) return
    const content = readFileSync(join(checkout, name), 'utf8')
    sources[name] = { content }
    for (const [, path] of content.matchAll(/^import\s[^;]*?["']([^"']+)["'];/gms)) {
      const map = mapped.find(([from]) => path.startsWith(from))
      add(map ? path.replace(...map) : normalize(join(dirname(name), path)))
    }
  }
  Object.values(fromSource).forEach(add)
  const settings = {
    remappings: mapped.map(([from, to]) => `${from}=${to}`),
    optimizer: { enabled: true, runs: 200 },
    evmVersion: 'cancun',
    outputSelection: { '*': { '*': ['evm.bytecode.object'] } },
  }
  const output = JSON.parse(solc.compile(JSON.stringify({ language: 'Solidity', sources, settings })))
  const errors = (output.errors ?? []).filter((error) => error.severity === 'error')
  if (errors.length > 0) throw new Error(errors.map((error) => error.formattedMessage).join('\n'))
  return Object.fromEntries(
    Object.entries(fromSource).map(([name, file]) => [name, `0x${output.contracts[file][name].evm.bytecode.object}`]),
  )
}

// Whether all that is needed was fetched before.
function complete(path) {
  if (!existsSync(path)) return false
  const found = JSON.parse(readFileSync(path, 'utf8'))
  return Object.keys(fromCrate).every((name) => name in found)
}

// Whole or not at all.
function write(path, code) {
  writeFileSync(`${path}.part`, JSON.stringify(code))
  renameSync(`${path}.part`, path)
}

mkdirSync(`${here}core`, { recursive: true })
const at = process.argv.indexOf('--checkout')
if (at > 0) write(`${here}core/checkout.json`, compiled(process.argv[at + 1]))
else if (!complete(`${here}core/v1.4.json`)) write(`${here}core/v1.4.json`, crateCode())
