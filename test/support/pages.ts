import type { ConsentPage } from '../../src/pages/consent.ts'
import type { ConnectionsPage, ShownConnection } from '../../src/pages/connections.ts'
import type { ErrorPage } from '../../src/pages/error.ts'
import type { HomePage } from '../../src/pages/home.ts'

export const CONSENT: ConsentPage = {
  clientName: 'Claude Code',
  clientKind: 'registered',
  destination: 'claude.ai',
  destinationKind: 'web',
  staysConnected: true,
  serverScopes: [],
  scopes: [
    { name: 'mcp:tools', description: 'Use the tools of this server on your behalf' },
    { name: 'offline_access', description: 'Stay signed in until you end it' }
  ],
  resource: 'https://mcp.example.com/mcp',
  connectionsPath: '/connections',
  action: '/oauth/consent',
  consent: 'c0n-sent_ID',
  reference: 'Abc_def-1234'
}

export const ERROR: ErrorPage = {
  title: 'Sign-in cannot start',
  sentence: 'The redirect_uri is not one of this application.',
  advice: 'Go back to the application and connect again. ' +
    'If it happens again, give the reference to whoever runs this server.',
  reference: '0f8fad5b-d9cb-469f-a165-70867728950e'
}

export const LONG_HOST = `${'long-label-of-a-host.'.repeat(11)}example.com:65535`
export const TOWER = `Z${'\u0301\u0302\u0303\u0304\u0305'.repeat(40)}algo`
export const HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>\'</title></style>'

/** The pages in every variant, with the longest and the most hostile content. */
export const CONSENTS: Record<string, ConsentPage> = {
  web: { ...CONSENT, clientName: 'Claude', clientKind: 'document', documentHost: 'claude.ai' },
  loopback: {
    ...CONSENT,
    documentHost: 'ignored.example',
    destination: 'localhost:53682',
    destinationKind: 'loopback'
  },
  app: { ...CONSENT, clientName: 'Cursor', clientKind: 'configured', destination: 'cursor:', destinationKind: 'app' },
  international: {
    ...CONSENT,
    clientName: 'Claude',
    clientKind: 'unregistered',
    destination: 'xn--clad-6qa.xn--p1ai:8443',
    scopes: []
  },
  publisher: {
    ...CONSENT, clientName: 'Claude', clientKind: 'document', documentHost: 'xn--clude-9ze.example'
  },
  long: {
    ...CONSENT,
    clientName: 'W'.repeat(500),
    clientKind: 'document',
    documentHost: LONG_HOST,
    destination: LONG_HOST,
    resource: `https://${LONG_HOST}/mcp`,
    scopes: [
      { name: 's'.repeat(300), description: 'w'.repeat(300) },
      { name: 'mcp:tools', description: 'Words '.repeat(60) }
    ]
  },
  wide: { ...CONSENT, clientName: '\ufdfd\u{1242b}'.repeat(20), clientKind: 'document' },
  tower: { ...CONSENT, clientName: TOWER },
  hostile: {
    ...CONSENT,
    clientName: HOSTILE,
    clientKind: 'document',
    documentHost: HOSTILE,
    destination: HOSTILE,
    scopes: [{ name: HOSTILE, description: HOSTILE }],
    action: `/oauth/consent?${HOSTILE}`,
    consent: HOSTILE
  }
}

export const ERRORS: Record<string, ErrorPage> = {
  plain: ERROR,
  link: {
    ...ERROR,
    title: 'Sign-in did not finish',
    sentence: 'Your organisation did not let you in.',
    link: { href: 'http://127.0.0.1:53682/callback?error=access_denied&state=a%20b', text: 'Return to the application' }
  },
  long: {
    ...ERROR,
    title: 'T'.repeat(200),
    sentence: 's'.repeat(300),
    link: { href: '/', text: 'l'.repeat(200) },
    reference: 'r'.repeat(128)
  },
  hostile: {
    title: HOSTILE,
    sentence: HOSTILE,
    advice: HOSTILE,
    link: { href: `https://client.example/?${HOSTILE}`, text: HOSTILE },
    reference: HOSTILE
  }
}

export const HOME: HomePage = {
  name: 'seed', title: 'Seed', endpoint: 'https://mcp.example.com/mcp', furtherEndpoints: [], isAvailable: true
}

export const ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8" rx="2" fill="#b5472f"/>' +
  '<path d="M2 6 4 2l2 4z" fill="#fff"/></svg>'

export const HOMES: Record<string, HomePage> = {
  plain: HOME,
  named: {
    ...HOME,
    name: 'acme',
    title: 'Acme tools',
    description: 'Tickets, documents and deployments of Acme, for the AI application of your choice.',
    operator: 'Acme IT',
    contact: 'it@acme.example',
    website: 'https://wiki.acme.example/mcp',
    icon: '/icon',
    connectionsPath: '/connections',
    furtherEndpoints: [
      {
        name: 'acme-sales',
        title: 'Sales',
        description: 'Offers and invoices',
        endpoint: 'https://mcp.example.com/mcp/sales'
      },
      { name: 'acme-ops', title: 'Acme: ops', endpoint: 'https://mcp.example.com/mcp/ops' }
    ]
  },
  unavailable: { ...HOME, isAvailable: false, contact: 'Room 4.12' },
  hostile: {
    ...HOME,
    title: HOSTILE,
    description: HOSTILE,
    operator: HOSTILE,
    contact: HOSTILE,
    website: `https://x/?${HOSTILE}`,
    furtherEndpoints: [{ name: 'x', title: HOSTILE, description: HOSTILE, endpoint: `https://x/?${HOSTILE}` }]
  },
  long: { ...HOME, title: 'T'.repeat(100), endpoint: `https://${LONG_HOST}/mcp`, operator: 'o'.repeat(200) }
}

const CONNECTION: ShownConnection = {
  grant: 'abcdefghijklmnopqrstuv',
  clientId: 'seed-4TRTR_-oJz1VyWAhHvXPYf8t',
  clientName: 'Claude Code',
  resource: undefined,
  clientKind: 'registered',
  scopes: [
    { name: 'mcp:tools', description: 'Use the tools of this server on your behalf' },
    { name: 'offline_access', description: 'Stay connected until you or your organisation end it' }
  ],
  since: 1_795_000_000,
  lastUsed: 1_795_900_000,
  expires: 1_803_000_000,
  sessions: 2
}

export const CONNECTIONS: ConnectionsPage = {
  server: 'Acme tools',
  person: 'Ada Lovelace',
  connections: [
    CONNECTION,
    {
      ...CONNECTION,
      clientId: 'https://claude.ai/oauth/client.json',
      clientName: 'Claude',
      clientKind: 'document',
      scopes: [],
      sessions: 1
    },
    { ...CONNECTION, clientId: 'cursor', clientName: undefined, clientKind: 'unregistered', sessions: 0 },
    { ...CONNECTION, clientId: 'reports', clientName: 'Quarterly reports', clientKind: 'configured', sessions: 0 }
  ],
  isComplete: true,
  streams: 2,
  accessTokenSeconds: 900,
  notice: 'ended',
  paths: {
    page: '/connections',
    signIn: '/connections/sign-in',
    signOut: '/connections/sign-out',
    end: '/connections/end',
    endAll: '/connections/end-all'
  },
  formToken: 'token-of-the-form',
  reference: 'Abc_def-1234'
}

/** Every way the page of connections can look. */
export const CONNECTIONS_PAGES: Record<string, ConnectionsPage> = {
  list: CONNECTIONS,
  empty: { ...CONNECTIONS, connections: [], notice: 'ended-all' },
  long: {
    ...CONNECTIONS,
    server: 's'.repeat(100),
    person: 'p'.repeat(300),
    connections: [{ ...CONNECTION, clientName: 'W'.repeat(500), scopes: [{ name: 's'.repeat(300), description: 'w'.repeat(300) }] }],
    isComplete: false,
    streams: 1,
    accessTokenSeconds: 60
  },
  hostile: {
    ...CONNECTIONS,
    server: HOSTILE,
    person: HOSTILE,
    connections: [{
      ...CONNECTION,
      grant: HOSTILE,
      clientId: HOSTILE,
      clientName: HOSTILE,
      scopes: [{ name: HOSTILE, description: HOSTILE }]
    }],
    formToken: HOSTILE,
    reference: HOSTILE
  }
}
