// Runs forge as it comes from npm, whose program needs no install script: node forge.mjs test
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const arch = process.arch === 'x64' ? 'amd64' : process.arch
const manifest = createRequire(import.meta.url).resolve(`@foundry-rs/forge-${process.platform}-${arch}/package.json`)
const here = new URL('.', import.meta.url).pathname
const env = { ...process.env, NO_COLOR: '1', FOUNDRY_DISABLE_NIGHTLY_WARNING: '1' }
const args = process.argv.slice(2)
// Tests on a newer core: see core.mjs.
if (['build', 'test'].includes(args[0]) && !existsSync(`${here}core/checkout.json`)) args.push('--skip', 'Checkout.t.sol')
const { status } = spawnSync(join(dirname(manifest), 'bin', 'forge'), args, { cwd: here, env, stdio: 'inherit' })
process.exit(status ?? 1)
