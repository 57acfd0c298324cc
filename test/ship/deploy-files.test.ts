import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { validate } from 'dockerfile-utils'
import t from 'tap'
import type { Test } from 'tap'
import { ROOT } from '../support/root.ts'
import { locate } from './container/engine.ts'
import { run } from './container/run.ts'

/** The findings of linters in the files that operators copy. */

const YAML_RULES = '{extends: default, rules: {line-length: {max: 120}, document-start: disable}}'

t.test('dockerfile-utils has nothing to say about the Dockerfiles', async (t) => {
  for (const path of ['Dockerfile', 'deploy/demo/Dockerfile']) {
    const problems = validate(await readFile(join(ROOT, path), 'utf8'))
    t.same(problems.map(({ message, range }) => `${path}:${range.start.line + 1} ${message}`), [])
  }
})

t.test('yamllint has nothing to say about the Compose files', async (t) => {
  await lint(t, 'yamllint', ['-d', YAML_RULES, '--strict', 'docker-compose.yml', 'deploy/compose/docker-compose.yml'])
})

t.test('shellcheck has nothing to say about the scripts', async (t) => {
  await lint(t, 'shellcheck', ['deploy/compose/create-secrets.sh', 'deploy/image/seed'])
})

/** Fails in CI if the linter is missing; elsewhere it is skipped by name. */
async function lint (t: Test, linter: string, args: readonly string[]): Promise<void> {
  const hint = `no ${linter} on PATH: apt-get install ${linter}`
  if (locate(linter) !== undefined) t.match(await run(linter, args, { cwd: ROOT }), { code: 0, stdout: /^$/ })
  else if (process.env['CI']) t.fail(hint)
  else t.plan(0, hint)
}
