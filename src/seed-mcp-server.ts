#!/usr/bin/env node

/** `npx seed-mcp-server`: the command line of `seed`, which starts the server when no command is named. */
if (process.argv.length === 2) process.argv.push('serve')
await import('./cli.ts')
