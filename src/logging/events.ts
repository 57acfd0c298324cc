interface LogEvent {
  level: 'info' | 'warn' | 'error' | 'fatal'
  /** The event and, at warn and error, what to do: the text of docs/events.md. */
  meaning: string
}

/**
 * Every kind of log line, by the `event` that it has. The names are stable: alerts and searches rely on them, while
 * messages may be reworded. At error and fatal somebody must act; at warn somebody should look.
 */
export const EVENTS = {
  request: {
    level: 'info',
    meaning: 'A request was answered; at warn something that Seed needs was away, at error Seed itself failed'
  },
  'log.lines_lost': {
    level: 'warn',
    meaning: 'Standard output could not be written for a while: `lost` lines are missing'
  },

  'server.ready': { level: 'info', meaning: 'The server listens' },
  'server.not_started': {
    level: 'fatal',
    meaning: 'The server cannot start: the message says why, and which settings to change'
  },
  'server.stopping': { level: 'info', meaning: 'A signal ends the server' },
  'server.crashed': {
    level: 'fatal',
    meaning: 'An error that nothing handled ends the server. Report it, or see `definitions`'
  },
  'server.open_access': {
    level: 'warn',
    meaning: '`AUTH_REQUIRED=false`: everyone who reaches the address may call tools'
  },
  'process.unhandled_rejection': {
    level: 'error',
    meaning: 'A promise was rejected and nothing handled it, usually in a tool: see `definitions`'
  },
  'request.failed': { level: 'error', meaning: 'Seed failed to answer a request. Report it' },
  'connections.limited': { level: 'warn', meaning: 'New connections are closed: `CONNECTIONS_TOTAL`, `TRUST_PROXY`' },
  'limits.inexact': {
    level: 'warn',
    meaning: 'More callers than can be counted: the limits of /mcp are inexact for a minute'
  },

  'config.proxy': { level: 'info', meaning: 'Requests to other servers go through `HTTPS_PROXY` or `HTTP_PROXY`' },
  'config.compose_variable': { level: 'warn', meaning: 'A setting has a `$`, which Compose would replace' },
  'config.proxy_mode_limits': { level: 'warn', meaning: 'What `OAUTH_MODE=proxy` cannot do' },
  'config.insecure_provider': {
    level: 'warn',
    meaning: '`OIDC_ALLOW_INSECURE_HTTP` lets requests to the provider travel by http'
  },
  'config.sign_in': { level: 'info', meaning: 'The mode and the preset of the provider' },
  'config.secret_weak': { level: 'error', meaning: '`SEED_SECRET` can be guessed: make another' },
  'config.secret_missing': {
    level: 'warn',
    meaning: '`SEED_SECRET` is not set: everyone signs in again after a restart'
  },
  'config.secret_not_shared': {
    level: 'warn',
    meaning: '`SEED_SECRET` is not set: replicas cannot continue what others began'
  },
  'config.definitions_hidden': { level: 'warn', meaning: '`AUTH_REQUIRED=false` hides what has a policy' },
  'config.scopes_needed': { level: 'info', meaning: 'Policies need scopes beyond `OIDC_SCOPES`' },
  'definitions.endpoint_unknown': {
    level: 'warn',
    meaning: '`endpoints` of a definition names an MCP endpoint that `SEED_ENDPOINTS` does not have'
  },
  'definitions.incompatible': {
    level: 'warn',
    meaning: 'Some clients refuse a tool, or all tools because of it: see the message'
  },

  'metrics.exported': {
    level: 'info',
    meaning: 'Metrics can be scraped (`METRICS_PORT`) or are pushed (`OTEL_EXPORTER_OTLP_ENDPOINT`)'
  },
  'spans.exported': {
    level: 'info',
    meaning: 'Requests are traced (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`)'
  },
  'spans.not_exported': { level: 'warn', meaning: 'The collector does not take spans: they are lost' },
  'spans.exported_again': { level: 'info', meaning: 'The collector takes spans again; `lost` of them were lost' },
  'store.in_memory': { level: 'warn', meaning: '`REDIS_URL` is not set: a restart ends sign-ins and sessions' },
  'store.record_unreadable': { level: 'warn', meaning: 'A record in the store is damaged, or not of Seed' },
  'store.record_of_later_release': {
    level: 'warn',
    meaning: 'A record has a version (`form`) that only a later release reads: requests that need it get 503 here'
  },
  'redis.unreachable': { level: 'error', meaning: 'Redis does not answer: requests that need it get 503' },
  'redis.reachable': { level: 'info', meaning: 'Redis answers again' },
  'trace.not_recorded': {
    level: 'warn',
    meaning: 'The store takes no steps of sign-ins: seed trace will not show them'
  },

  'provider.discovered': { level: 'info', meaning: 'The discovery document was read' },
  'provider.undiscovered': {
    level: 'error',
    meaning: 'The provider cannot be used yet: `OIDC_ISSUER`, its document, or the network'
  },
  'provider.metadata_unusable': { level: 'error', meaning: 'The provider cannot do what Seed needs: see the message' },
  'provider.metadata_limited': {
    level: 'warn',
    meaning: 'The provider cannot do something: see the message for what follows'
  },
  'provider.keys_changed': { level: 'info', meaning: 'The provider has other signing keys' },
  'provider.keys_unavailable': {
    level: 'error',
    meaning: 'The signing keys cannot be fetched; in proxy mode known ones are used for a day'
  },
  'provider.keys_available': { level: 'info', meaning: 'The signing keys can be fetched again' },
  'client.keys_changed': { level: 'info', meaning: 'A client of `OAUTH_CLIENTS` has other keys at its `jwks_uri`' },
  'client.keys_unavailable': {
    level: 'error',
    meaning: 'The keys at the `jwks_uri` of a client cannot be fetched; known ones are used for a day'
  },
  'client.keys_available': { level: 'info', meaning: 'The keys at the `jwks_uri` of a client can be fetched again' },
  'issuer.keys_changed': { level: 'info', meaning: 'An issuer of `TRUSTED_ISSUERS` has other keys' },
  'issuer.keys_unavailable': {
    level: 'error',
    meaning: 'The keys of an issuer of `TRUSTED_ISSUERS` cannot be fetched; known ones are used for a day'
  },
  'issuer.keys_available': {
    level: 'info',
    meaning: 'The keys of an issuer of `TRUSTED_ISSUERS` can be fetched again'
  },
  'provider.client_authentication_changed': {
    level: 'warn',
    meaning: 'The provider takes another `OIDC_CLIENT_AUTH` than its document says'
  },
  'provider.unpromised_iss': { level: 'info', meaning: 'The provider sends `iss` without promising it' },
  'provider.scopes_refused': { level: 'warn', meaning: 'The provider refuses scopes: `OIDC_SCOPES`' },
  'provider.pushed_request_refused': {
    level: 'error',
    meaning: 'The provider refuses a pushed authorization request: its client for Seed'
  },
  'provider.no_refresh_token': {
    level: 'warn',
    meaning: 'The provider issues no refresh tokens: sign-ins end after `GRANT_MAX_AGE_UNCHECKED`'
  },
  'provider.refresh_error_unclear': {
    level: 'info',
    meaning: 'How the provider answers a refresh token that does not exist'
  },
  'provider.revocation_refused': {
    level: 'warn',
    meaning: 'The provider does not revoke a token: it has ended here only'
  },
  'provider.userinfo_failed': {
    level: 'warn',
    meaning: 'The userinfo endpoint could not be used: claims may be missing'
  },

  'grant.ended': { level: 'info', meaning: 'A sign-in of broker mode has ended, for `reason`' },
  'grant.access_refused': { level: 'warn', meaning: 'An access rule refuses a person who was admitted before' },
  'grant.refresh_token_reused': {
    level: 'warn',
    meaning: 'A spent refresh token came again: it may be stolen, and the sign-in ends'
  },
  'grant.rotation_lost': { level: 'warn', meaning: 'The store has lost writes: sign-ins go on from what clients hold' },
  'grant.upstream_revocation_failed': { level: 'warn', meaning: 'A sign-in has ended here, and not at the provider' },
  'family.ended': { level: 'info', meaning: 'A sign-in of proxy mode has ended, for `reason`' },
  'family.refresh_token_reused': {
    level: 'warn',
    meaning: 'A spent refresh token came again: it may be stolen, and the sign-in ends'
  },
  'family.upstream_revocation_failed': { level: 'warn', meaning: 'A sign-in has ended here, and not at the provider' },
  'logout.nothing_ended': { level: 'info', meaning: 'A back-channel logout ended no grant' },
  'logout.session_only': {
    level: 'warn',
    meaning: 'A back-channel logout without `sub` ends no access tokens in proxy mode'
  },
  'token_exchange.issued': { level: 'info', meaning: 'The provider issued a token for another API' },
  'token_exchange.failed': { level: 'warn', meaning: 'A tool did not get a token for another API' },
  'client.secret_guessed': { level: 'warn', meaning: 'Many wrong secrets of one client of `OAUTH_CLIENTS`' },
  'client_documents.reachable': { level: 'info', meaning: 'Client ID metadata documents can be fetched again' },
  'client_documents.unreachable': {
    level: 'warn',
    meaning: 'Client ID metadata documents cannot be fetched, and are not advertised: `CIMD_PROBE_URL`'
  },

  'handler.failed': { level: 'error', meaning: 'A tool, prompt or resource failed: its author must look' },
  'handler.timed_out': { level: 'warn', meaning: 'A handler took too long: `TOOL_TIMEOUT_SECONDS`' },
  'handler.result_too_large': { level: 'warn', meaning: 'A result was not sent: `MCP_MAX_RESULT_BYTES`' },
  'handler.notifications_dropped': { level: 'warn', meaning: 'A handler sends progress faster than its client reads' },
  'mcp.request_refused': { level: 'warn', meaning: 'The SDK refused a request, or failed at it' },
  'mcp.request_state_refused': { level: 'info', meaning: 'A client sent a request state that is not valid (any more)' },
  'mcp.stream_cut_off': { level: 'warn', meaning: 'A client does not read its stream' },
  'mcp.change_delayed': { level: 'warn', meaning: 'Clients learn of a change when the store is back' },
  'mcp.background_failed': { level: 'error', meaning: 'Seed failed at work that no request waits for. Report it' },

  'endpoint.names_unmatched': {
    level: 'warn',
    meaning: 'Names of `allow` or `deny` of an MCP endpoint fit nothing that the server offers now: see `unmatched`'
  },
  'mount.connected': { level: 'info', meaning: 'A mounted MCP server is connected, for the first time or again' },
  'mount.unavailable': {
    level: 'warn',
    meaning: 'A mounted MCP server cannot be used: what it offers fails until it is back'
  },
  'mount.refused': {
    level: 'error',
    meaning: 'A mounted MCP server answers 401, 403 or 404: check its `url` and `secret` in the file of `SEED_MOUNTS`'
  },
  'mount.not_started': {
    level: 'error',
    meaning: 'The process of a mounted MCP server cannot be started: check its `command` and `cwd`'
  },
  'mount.stderr': {
    level: 'info',
    meaning: 'A line that the process of a mounted MCP server has written to stderr; a hundred a minute at most'
  },
  'mount.memory_exceeded': {
    level: 'warn',
    meaning: 'A process of a mounted MCP server was ended, as it used more than `maxMemoryBytes` of the mount'
  },
  'mount.log_messages_dropped': {
    level: 'warn',
    meaning: 'Log messages that a mounted MCP server sent in a call did not reach the client: too many, too long, or ' +
      'taken too slowly (fixed limits); logged once a minute at most'
  },
  'mount.connection_failed': {
    level: 'warn',
    meaning: 'A connection of one caller to a mounted MCP server could not be opened; logged once a minute at most'
  },
  'mount.connections_in_use': {
    level: 'warn',
    meaning: 'Calls of a mounted MCP server fail, as all connections, or all that one person may have, are in use: ' +
      '`maxConnections` of the mount'
  },
  'mount.calls_refused': {
    level: 'warn',
    meaning: 'Calls of a mounted MCP server are refused by a limit of the mount: see `limit` (`maxConcurrentCalls`, ' +
      '`callsPerMinute`), and `place` if it is that of a single tool or prompt; logged once a minute at most'
  },
  'mount.subscriptions_exceeded': {
    level: 'warn',
    meaning: 'Clients are not notified of changes of further resources of a mounted MCP server: the limit is reached'
  },
  'mount.names_unmatched': {
    level: 'warn',
    meaning: 'Names of `allow`, `deny` or `overrides` fit nothing that a mounted server offers: see `unmatched`'
  },
  'mount.offers_refused': {
    level: 'warn',
    meaning: 'A mounted MCP server offers something that clients would refuse: see `refused`'
  },
  'mount.offer_changed': {
    level: 'warn',
    meaning: 'What a mounted server offers is new or differs from what was accepted, and is hidden: `seed mounts diff`'
  },
  'mount.change_refused': {
    level: 'error',
    meaning: 'A change of what mounted MCP servers offer cannot be served: the lists stay as they were. Report it'
  },

  'audit.lines_lost': { level: 'error', meaning: 'The audit log cannot be written: `AUDIT_LOG`, disk space' },
  'audit.written_again': { level: 'info', meaning: 'The audit log is written again; `lost` lines are missing' },
  'audit.reopened': { level: 'info', meaning: 'SIGHUP opened the file of the audit log anew' },
  'audit.reopen_failed': {
    level: 'error',
    meaning: 'The file of the audit log cannot be opened anew: lines go on into the old one'
  }
} as const satisfies Record<string, LogEvent>

export type EventName = keyof typeof EVENTS

/** The events of one level. */
export type EventOf<Level extends LogEvent['level']> = {
  [Name in EventName]: (typeof EVENTS)[Name]['level'] extends Level ? Name : never
}[EventName]
