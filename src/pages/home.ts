import { escapeHtml, renderPage } from './layout.ts'

/** Returns the page at `/`: it tells a person who opens the server's address in a browser how to connect a client. */
export function renderHomePage (endpoint: string): string {
  const title = 'This is an MCP server'
  return renderPage(title, [
    `<h1>${title}</h1>`,
    '<p>It offers tools to AI applications. Add this address to yours:</p>',
    `<p><code>${escapeHtml(endpoint)}</code></p>`,
    `<p>In Claude Code: <code>claude mcp add --transport http seed ${escapeHtml(endpoint)}</code></p>`
  ].join('\n'))
}
