// What the transactions deploy and call, as bytecode.

// sstore(calldataload(0), number); log1(0, 32, number)
const counted = '435f3555' + '435f52' + '4360205fa1'
// sstore(8, timestamp ^ coinbase ^ basefee ^ gaslimit ^ chainid)
const block = '424118481845184618600855'
// sstore(9, prevrandao ^ blockhash(number - 1))
const chain = '44600143034018600955'

// What a block tells a contract goes into the state.
const worker = `${counted}${block}${chain}00`
// The same without what the block's hash, or its random number, decides.
const plainWorker = `${counted}${block}00`

// mstore(0, 42); revert(0, 32)
const reverter = '602a5f5260205ffd'

// For each address from 1 to 17: calls it with the call's data and 20,000 gas, and stores the hash of what it returned,
// with whether it succeeded. These are the precompiles, as far as the fork has them.
const prober = '60015b' + '365f5f37' + '5f5f365f84614e20fa' + '3d5f5f3e' + '3d5f2018' + '8155' + '600101' + '6012811060025700'

const scratch = [
  // tstore(0, calldataload(0)); mstore(0, tload(0)); mcopy(32, 0, 32); log1(0, 64, caller)
  '5f355f5d' + '5f5c5f52' + '60205f60205e' + '3360405fa1',
  // sstore(caller, basefee); sstore(not(caller), blobbasefee)
  '483355' + '4a331955',
  // A contract that ends itself at once (EIP-6780): create2(callvalue, 0, 2, calldataload(0)) of selfdestruct(caller);
  // sstore(address, extcodehash(address))
  '6133ff60f01b5f52' + '5f3560025f34f5' + '803f9055' + '00',
].join('')

const deployment = (code) => `0x60${(code.length / 2).toString(16).padStart(2, '0')}80600a5f395ff300${code}`

// Deployed by each account with its first transactions, in this order. `plain` leaves out what decides a block's hash.
export function contracts(plain) {
  return [plain ? plainWorker : worker, reverter, prober, scratch].map(deployment)
}
