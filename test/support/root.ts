import { fileURLToPath } from 'node:url'

/** The repository. Tests run compiled, from .test-build/test (test/run.js). */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
