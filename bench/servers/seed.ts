import type { serve } from '../../src/serve.ts'
import { benchTools } from './bench-tools.ts'

/**
 * Seed as `npm start` starts it, bundled, but for its tools. This is the only place that gives a Seed other tools.
 * BENCH_SEED names another build of it (`--compare`): the folder that holds src/serve.js.
 */
const { AUTH_REQUIRED, BENCH_SEED, BENCH_TOOLS } = process.env
// With a policy, as tools have: every token of the benchmark has this scope. Nobody has one without sign-in.
const scopes = AUTH_REQUIRED === 'false' ? [] : ['openid']
const build = BENCH_SEED === undefined ? new URL('../../bundle/', import.meta.url) : new URL(`file://${BENCH_SEED}/`)
const seed = await import(new URL('src/serve.js', build).href) as { serve: typeof serve }

await seed.serve(process.env, false, { definitions: benchTools(Number(BENCH_TOOLS), scopes) })
