import { defineMount } from 'seed-mcp-server'

const REGIONS = ['eu', 'us']

/**
 * Mounts an MCP server that runs once in each region, with the same rules for all: `tickets-eu_search` and so on. Only
 * tools that change nothing are offered. Needs `TICKETS_URL`, such as `https://tickets.internal`.
 */
export const [eu, us] = REGIONS.map((region) => defineMount({
  name: `tickets-${region}`,
  url: new URL(`/${region}/mcp`, process.env['TICKETS_URL']).href,
  tools: { allow: [{ readOnlyHint: true }] },
  prompts: false
}))
