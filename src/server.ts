import { serve } from './serve.ts'

/** The command that starts Seed, with the environment and the `.env` of the folder it is started in. */
await serve(process.env, '.env')
