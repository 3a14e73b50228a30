// Runs forge as it comes from npm, whose program needs no install script: node forge.mjs test
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const arch = process.arch === 'x64' ? 'amd64' : process.arch
const manifest = createRequire(import.meta.url).resolve(`@foundry-rs/forge-${process.platform}-${arch}/package.json`)
const here = new URL('.', import.meta.url).pathname
const env = { ...process.env, NO_COLOR: '1', FOUNDRY_DISABLE_NIGHTLY_WARNING: '1' }
const { status } = spawnSync(join(dirname(manifest), 'bin', 'forge'), process.argv.slice(2), { cwd: here, env, stdio: 'inherit' })
process.exit(status ?? 1)
