// The rollup's genesis in geth's format: the executor and the client read the same file.
import { readFileSync } from 'node:fs'

const contracts = JSON.parse(readFileSync(new URL('system-contracts.json', import.meta.url), 'utf8'))
const zero = `0x${'00'.repeat(32)}`

export function genesis(fork, chainId, funded) {
  const forks = { shanghaiTime: 0, cancunTime: 0, ...(fork === 'prague' && { pragueTime: 0 }) }
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
      ...contracts,
      ...Object.fromEntries(funded.map((address) => [address, { balance: '0x21e19e0c9bab2400000' }])),
    },
  }
}
