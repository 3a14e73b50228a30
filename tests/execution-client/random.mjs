// Random contracts: the same number gives the same code.

const hex = (bytes) => Buffer.from(bytes).toString('hex')

// xorshift32, begun by a number that is not 0.
function generator(seed) {
  let state = (Math.imul(seed + 1, 0x9e3779b1) ^ 0x5bd1e995) >>> 0 || 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state % below
  }
}

// Opcodes that take so many words and leave one; none of them depends on a block's hash or random number.
const words = {
  0: [0x30, 0x32, 0x33, 0x34, 0x36, 0x38, 0x3a, 0x3d, 0x41, 0x42, 0x43, 0x45, 0x46, 0x47, 0x48, 0x4a, 0x58, 0x59, 0x5a],
  1: [0x15, 0x19, 0x31, 0x35, 0x3b, 0x3f, 0x51, 0x54, 0x5c],
  2: [1, 2, 3, 4, 5, 6, 7, 0x0a, 0x0b, 0x10, 0x11, 0x12, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1a, 0x1b, 0x1c, 0x1d, 0x20],
  3: [8, 9],
}

// Code of at most some hundred bytes that seldom runs out of stack: each opcode gets its words pushed.
function body(pick, depth) {
  const code = []
  const small = () => code.push(0x60, pick(10) < 8 ? pick(8) : pick(256))
  const length = () => code.push(0x60, [0, 1, 2, 31, 32, 33, 64, 96][pick(8)])
  // This contract, the caller, a precompile or an account that may not exist.
  const account = () => [() => code.push(0x30), () => code.push(0x33), () => code.push(0x60, 1 + pick(18)), small][pick(4)]()
  const actions = [
    () => {
      const count = pick(4)
      for (let word = 0; word < count; word += 1) pick(2) ? small() : code.push(0x5a)
      code.push(words[count][pick(words[count].length)], 0x50)
    },
    // sstore, tstore, mstore of something found out.
    () => {
      if (pick(2)) code.push(words[0][pick(words[0].length)])
      else (small(), code.push(words[1][pick(words[1].length)]))
      small()
      code.push([0x55, 0x55, 0x5d, 0x52][pick(4)])
    },
    // sstore of 0 or 1: refunds.
    () => (code.push(0x60, pick(2)), small(), code.push(0x55)),
    // log0 to log3.
    () => {
      const topics = pick(4)
      for (let topic = 0; topic < topics; topic += 1) small()
      length()
      small()
      code.push(0xa0 + topics)
    },
    // calldatacopy, codecopy, mcopy.
    () => (length(), small(), small(), code.push([0x37, 0x39, 0x5e][pick(3)])),
    // call, callcode, delegatecall or staticcall; whether it succeeded goes into a slot.
    () => {
      const kind = [0xf1, 0xf2, 0xf4, 0xfa][pick(4)]
      length(), small(), length(), small()
      if (kind <= 0xf2) code.push(0x60, pick(3))
      account()
      code.push(0x61, pick(0x60), pick(256), kind)
      small()
      code.push(0x55)
    },
    // create or create2 of more code, stored under its address.
    () => {
      const init = depth > 0 ? body(pick, depth - 1).slice(0, 32) : [0x60, pick(256), 0x60, 0, 0x53, 0x60, pick(3), 0x60, 0, 0xf3]
      code.push(0x5f + init.length, ...init, 0x60, 8 * (32 - init.length), 0x1b, 0x5f, 0x52)
      const salted = pick(2)
      if (salted) small()
      code.push(0x60, init.length, 0x5f, 0x60, pick(2), salted ? 0xf5 : 0xf0, 0x80, 0x3f, 0x90, 0x55)
    },
  ]
  const count = 3 + pick(10)
  for (let action = 0; action < count; action += 1) actions[pick(depth > 0 ? actions.length : actions.length - 1)]()
  const ends = [[0x00], [0x00], [0x60, 32, 0x5f, 0xf3], [0x60, 32, 0x5f, 0xfd], [0x33, 0xff], [0x30, 0xff], [0xfe]]
  return [...code, ...ends[pick(ends.length)]]
}

// Init code that runs some random code as it deploys another, up to a seventh of the time.
export function randomDeployment(seed) {
  const pick = generator(seed)
  const code = body(pick, 1)
  const first = pick(7) === 0 ? body(pick, 0).slice(0, -1) : []
  const at = first.length + 14
  const deploy = [0x61, code.length >> 8, code.length & 255, 0x80, 0x61, at >> 8, at & 255, 0x5f, 0x39, 0x5f, 0xf3, 0, 0, 0]
  return `0x${hex([...first, ...deploy, ...code])}`
}
