import type { serve } from '../../src/serve.ts'
import { benchTools } from './bench-tools.ts'

/**
 * Seed as `npm start` starts it, bundled, but for its tools. This is the only place that gives a Seed other tools.
 * BENCH_SEED names another build of it (`--compare`): the folder that holds src/serve.js.
 */
const { BENCH_SEED, BENCH_TOOLS } = process.env
const build = BENCH_SEED === undefined ? new URL('../../bundle/', import.meta.url) : new URL(`file://${BENCH_SEED}/`)
const seed = await import(new URL('src/serve.js', build).href) as { serve: typeof serve }

await seed.serve(process.env, false, { definitions: benchTools(Number(BENCH_TOOLS)) })
