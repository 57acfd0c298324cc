#!/usr/bin/env node

/** `npm create seed-mcp NAME`: the same as `seed new project NAME`. */
process.argv.splice(2, 0, 'new', 'project')
await import('seed-mcp-server/cli')
