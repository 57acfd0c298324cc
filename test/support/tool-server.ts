import { serve } from '../../src/serve.ts'
import { interactiveTools } from './interactive-tools.ts'

/** Seed as a process of its own, with tools that do all that a tool can do with its client. */
await serve(process.env, false, { definitions: interactiveTools })
