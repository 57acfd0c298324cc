import { escapeHtml, isolateText, renderPage } from './layout.ts'

/** A further MCP endpoint of the server. */
export interface HomePageEndpoint {
  /** For the commands and links. */
  name: string
  title: string
  description?: string | undefined
  /** The address. */
  endpoint: string
}

/** The front page: what this is, who runs it, and how to connect. All members are of the operator, as plain text. */
export interface HomePage {
  /** SERVER_NAME, for the commands and links. */
  name: string
  title: string
  description?: string | undefined
  /** The people or company who run the server. */
  operator?: string | undefined
  contact?: string | undefined
  website?: string | undefined
  /** Path of the logo. */
  icon?: string | undefined
  /** Path of the page on which people see the applications that act in their name, if there is one. */
  connectionsPath?: string | undefined
  /** The address of the MCP endpoint. */
  endpoint: string
  /** The other MCP endpoints. */
  furtherEndpoints: readonly HomePageEndpoint[]
  /** Whether people can sign in just now. */
  isAvailable: boolean
}

/** Returns the page at `/`: it tells a person who opens the server's address in a browser how to connect a client. */
export function renderHomePage (page: HomePage): string {
  const { title, description, icon, endpoint, isAvailable } = page
  const address = escapeHtml(endpoint)
  return renderPage(title, [
    ...(icon === undefined ? [] : [`<p><img src="${escapeHtml(icon)}" alt="" width="64" height="64"></p>`]),
    `<h1>${isolateText(title)}</h1>`,
    `<p>${description === undefined ? 'This server offers tools to AI applications.' : isolateText(description)}</p>`,
    ...renderOperator(page),
    isAvailable
      ? '<p class="soft">It is running.</p>'
      : '<p class="warning"><strong>It is running, but nobody can sign in at the moment.</strong></p>',
    '<section aria-labelledby="connect">',
    '<h2 id="connect">Connect an application</h2>',
    '<p>Add this address to it. You will be asked to sign in.</p>',
    `<p class="address"><code>${address}</code></p>`,
    '<h3>Claude Code</h3>',
    renderCommand(page),
    '<h3>Claude Desktop and claude.ai</h3>',
    '<p>Open Settings, Connectors, <strong>Add custom connector</strong>; paste the address; choose ' +
    '<strong>Connect</strong>.</p>',
    '<h3>Editors</h3>',
    ...renderButtons(page),
    '</section>',
    ...renderFurtherEndpoints(page),
    ...renderConnections(page)
  ].join('\n'))
}

function renderCommand ({ name, endpoint }: Pick<HomePageEndpoint, 'name' | 'endpoint'>): string {
  const command = `claude mcp add --transport http ${escapeHtml(name)} ${escapeHtml(endpoint)}`
  return `<p class="address"><code>${command}</code></p>`
}

function renderButtons ({ name, endpoint }: Pick<HomePageEndpoint, 'name' | 'endpoint'>): string[] {
  return [
    '<div class="actions">',
    `<a class="button" href="${escapeHtml(cursorLink(name, endpoint))}">Add to Cursor</a>`,
    `<a class="button" href="${escapeHtml(vsCodeLink(name, endpoint))}">Add to VS Code</a>`,
    '</div>'
  ]
}

function renderFurtherEndpoints ({ furtherEndpoints }: HomePage): string[] {
  if (furtherEndpoints.length === 0) return []
  return [
    '<section aria-labelledby="endpoints">',
    '<h2 id="endpoints">Other addresses of this server</h2>',
    '<p>Each offers something else, and is connected by itself.</p>',
    ...furtherEndpoints.flatMap((further) => [
      `<h3>${isolateText(further.title)}</h3>`,
      ...(further.description === undefined ? [] : [`<p>${isolateText(further.description)}</p>`]),
      `<p class="address"><code>${escapeHtml(further.endpoint)}</code></p>`,
      renderCommand(further),
      ...renderButtons(further)
    ]),
    '</section>'
  ]
}

function renderConnections ({ connectionsPath: path }: HomePage): string[] {
  if (path === undefined) return []
  return [
    '<section aria-labelledby="connections">',
    '<h2 id="connections">Applications that you have connected</h2>',
    `<p><a href="${escapeHtml(path)}">See what acts in your name, and cut it off</a></p>`,
    '</section>'
  ]
}

function renderOperator ({ operator, contact, website }: HomePage): string[] {
  const parts = [
    ...(operator === undefined ? [] : [`Run by ${isolateText(operator)}.`]),
    ...(contact === undefined ? [] : [`Questions: ${renderContact(contact)}.`]),
    ...(website === undefined ? [] : [`<a href="${escapeHtml(website)}" rel="noreferrer">More about it</a>.`])
  ]
  return parts.length === 0 ? [] : [`<p>${parts.join(' ')}</p>`]
}

function renderContact (contact: string): string {
  const text = isolateText(contact)
  return /^[^\s@:/]+@[^\s@:/]+$/.test(contact) ? `<a href="mailto:${escapeHtml(contact)}">${text}</a>` : text
}

/** Cursor's install link (cursor.com/docs/mcp/install-links). */
function cursorLink (name: string, url: string): string {
  const config = Buffer.from(JSON.stringify({ url })).toString('base64')
  return `cursor://anysphere.cursor-deeplink/mcp/install?name=${name}&config=${encodeURIComponent(config)}`
}

/** VS Code's install link (code.visualstudio.com/api/extension-guides/ai/mcp). */
function vsCodeLink (name: string, url: string): string {
  return `vscode:mcp/install?${encodeURIComponent(JSON.stringify({ name, type: 'http', url }))}`
}
