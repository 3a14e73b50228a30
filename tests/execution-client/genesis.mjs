// The rollup's genesis in geth's format: the executor and the client read the same file. `without` names system contracts
// that it shall not have.
import { readFileSync } from 'node:fs'

const contracts = JSON.parse(readFileSync(new URL('system-contracts.json', import.meta.url), 'utf8'))
const zero = `0x${'00'.repeat(32)}`

export const systemContracts = {
  beaconRoots: '0x000f3df6d732807ef1319fb7b8bb8522d0beac02',
  history: '0x0000f90827f1c53a10cb7a02335b175320002935',
}

export function genesis(fork, chainId, funded, without = []) {
  const order = ['shanghai', 'cancun', 'prague', 'osaka']
  const forks = Object.fromEntries(order.slice(0, order.indexOf(fork) + 1).map((name) => [`${name}Time`, 0]))
  const kept = Object.entries(contracts).filter(([address]) => !without.includes(address))
  const blocks = ['homestead', 'eip150', 'eip155', 'eip158', 'byzantium', 'constantinople', 'petersburg', 'istanbul']
  blocks.push('berlin', 'london', 'mergeNetsplit')
  return {
    config: {
      chainId,
      ...Object.fromEntries(blocks.map((name) => [`${name}Block`, 0])),
      terminalTotalDifficulty: 0,
      terminalTotalDifficultyPassed: true,
      ...forks,
    },
    nonce: '0x0',
    timestamp: '0x0',
    extraData: '0x',
    gasLimit: '0x2255100',
    difficulty: '0x0',
    mixHash: zero,
    coinbase: `0x${'00'.repeat(20)}`,
    parentHash: zero,
    number: '0x0',
    gasUsed: '0x0',
    baseFeePerGas: '0x3b9aca00',
    excessBlobGas: '0x0',
    blobGasUsed: '0x0',
    alloc: {
      ...Object.fromEntries(kept),
      ...Object.fromEntries(funded.map((address) => [address, { balance: '0x21e19e0c9bab2400000' }])),
    },
  }
}
