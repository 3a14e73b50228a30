// Foundry's command line tools, as they come from npm.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const require = createRequire(import.meta.url)
const here = new URL('.', import.meta.url).pathname
const to = '0x00000000000000000000000000000000000CA570'

// The program of this platform's package; npm needs no install script for it.
function program(tool) {
  const arch = process.arch === 'x64' ? 'amd64' : process.arch
  const manifest = require.resolve(`@foundry-rs/${tool}-${process.platform}-${arch}/package.json`)
  return join(dirname(manifest), 'bin', tool)
}

async function execute(tool, args, options = {}) {
  const env = { ...process.env, NO_COLOR: '1', FOUNDRY_DISABLE_NIGHTLY_WARNING: '1' }
  try {
    const { stdout } = await promisify(execFile)(program(tool), args, { env, maxBuffer: 1 << 26, ...options })
    return stdout.trim()
  } catch (error) {
    throw new Error(`${tool} ${args.join(' ').slice(0, 200)}: ${error.stderr || error.message}`)
  }
}

async function versionOf(tool) {
  return /\d+\.\d+\.\d+/.exec(await execute(tool, ['--version']))[0]
}

export async function cast({ rpc, ws, key, counter: { bytecode }, step, named }) {
  named(await versionOf('cast'))
  const ask = (command, ...args) => execute('cast', [command, '--rpc-url', rpc, ...args])
  const send = async (...args) => {
    const receipt = JSON.parse(await ask('send', '--json', '--private-key', key, ...args))
    assert.equal(receipt.status, '0x1')
    return receipt
  }
  const from = await execute('cast', ['wallet', 'address', '--private-key', key])
  await step('chain id and client', async () => {
    assert.match(await ask('chain-id'), /^\d+$/)
    assert.match(await ask('client'), /squad/)
  })
  await step('transfer (EIP-1559 and legacy)', async () => {
    const before = BigInt(await ask('balance', to))
    await send(to, '--value', '1ether')
    await send(to, '--value', '1', '--legacy')
    assert.equal(BigInt(await ask('balance', to)) - before, 1_000_000_000_000_000_001n)
  })
  const start = '5'.padStart(64, '0')
  const { contractAddress } = await step('deploy', () => send('--create', bytecode + start))
  await step('call, code and storage', async () => {
    assert.equal(await ask('call', contractAddress, 'value()(uint256)'), '5')
    assert.notEqual(await ask('code', contractAddress), '0x')
    assert.equal(BigInt(await ask('storage', contractAddress, '0')), 5n)
  })
  const receipt = await step('contract transaction', () => send(contractAddress, 'add(uint256)', '7'))
  await step('estimate', async () => {
    assert(Number(await ask('estimate', contractAddress, 'add(uint256)', '1', '--from', from)) > 21_000)
  })
  await step('logs', async () => {
    const logs = await ask('logs', '--json', '--from-block', '0', '--address', contractAddress, 'Counted(address indexed,uint256)')
    assert.equal(JSON.parse(logs)[0].transactionHash, receipt.transactionHash)
  })
  await step('revert reason', async () => {
    const refused = await ask('call', contractAddress, 'add(uint256)', '0').catch((error) => error)
    assert.match(String(refused), /execution reverted: nothing to add/)
  })
  await step('transaction, receipt and block', async () => {
    const tx = JSON.parse(await ask('tx', '--json', receipt.transactionHash))
    assert.equal(tx.blockNumber, receipt.blockNumber)
    const found = JSON.parse(await ask('receipt', '--json', receipt.transactionHash))
    assert.equal(found.blockHash, receipt.blockHash)
    const block = JSON.parse(await ask('block', '--json', '--full', String(Number(receipt.blockNumber))))
    assert.equal(block.hash, receipt.blockHash)
    assert.equal(JSON.parse(await ask('block', '--json', 'finalized')).hash.length, 66)
  })
  await step('proof', async () => {
    const found = JSON.parse(await ask('proof', contractAddress, '0'))
    assert.equal(BigInt(found.storageProof[0].value), 12n)
  })
  await step('access list', async () => {
    const found = await ask('access-list', '--json', '--from', from, contractAddress, 'add(uint256)', '1')
    assert.equal(JSON.parse(found).accessList[0].storageKeys.length, 1)
  })
  await step('reads over WebSocket', async () => {
    assert.match(await execute('cast', ['block-number', '--rpc-url', ws]), /^\d+$/)
  })
}

export async function forge({ rpc, key, step, named }) {
  named(await versionOf('forge'))
  const dir = mkdtempSync(join(tmpdir(), 'squad-forge-'))
  try {
    cpSync(join(here, 'forge'), join(dir, 'forge'), { recursive: true })
    cpSync(join(here, 'Counter.sol'), join(dir, 'Counter.sol'))
    const compiler = ['--use', join(here, 'solc'), '--offline']
    const common = ['--rpc-url', rpc, '--private-key', key, '--broadcast']
    const options = { cwd: dir }
    const deployed = await step('create', async () => {
      const args = ['create', 'Counter.sol:Counter', '--root', dir, '--contracts', dir, '--json', ...compiler, ...common]
      const out = JSON.parse(await execute('forge', [...args, '--constructor-args', '9'], options))
      return out.deployedTo
    })
    await step('the contract is there', async () => {
      const value = await execute('cast', ['call', deployed, 'value()(uint256)', '--rpc-url', rpc])
      assert.equal(value, '9')
    })
    await step('script --broadcast: deployment and two calls, with receipts', async () => {
      const args = ['script', 'forge/script/Deploy.s.sol:Deploy', '--root', dir, '--json', ...compiler, ...common]
      await execute('forge', args, options)
      const chain = await execute('cast', ['chain-id', '--rpc-url', rpc])
      const { receipts } = JSON.parse(readFileSync(join(dir, 'broadcast', 'Deploy.s.sol', chain, 'run-latest.json')))
      assert.deepEqual(receipts.map((receipt) => receipt.status), ['0x1', '0x1', '0x1'])
      const logs = receipts.flatMap((receipt) => receipt.logs)
      assert.deepEqual(logs.map((log) => Number(log.data)), [3, 6])
    })
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
