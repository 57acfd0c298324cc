/** Types of the parts of `oidc-provider` that the development provider and the tests use: the package ships none. */
declare module 'oidc-provider' {
  import type { EventEmitter } from 'node:events'
  import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'

  /** The slice of a Koa context that middleware and configuration callbacks read and change. */
  export interface Context {
    path: string
    query: Record<string, string | string[] | undefined>
    body: unknown
    status: number
    type: string
    response: { get (header: string): string }
    set (header: string, value: string): void
    oidc: {
      params: Record<string, string | undefined>
      client: Client
      session: { acr?: string }
      /** The result of the interaction that the request comes back from. */
      result?: { login?: object }
    }
  }

  export interface Client {
    clientId: string
    clientAuthMethod: string
    grantTypeAllowed (type: string): boolean
  }

  /** A code, an access token or a refresh token. */
  export interface Token {
    accountId: string
    clientId: string
    grantId: string
    scope: string
    scopes: Set<string>
    /** The grant type that it comes from. */
    gty?: string
  }

  export interface AccessToken extends Token {
    resourceServer: object
    extra: Record<string, unknown>
    save (): Promise<string>
  }

  /** An access token that is going to be a JWT. */
  export interface StructuredToken {
    header: Record<string, unknown> | undefined
    payload: Record<string, unknown>
  }

  export interface Grant {
    addOIDCScope (scope: string): void
    addResourceScope (resource: string, scope: string): void
    save (): Promise<string>
  }

  export interface Interaction {
    uid: string
    prompt: { name: string }
    params: Record<string, string | undefined>
    session?: { accountId: string }
  }

  export interface AdapterPayload extends Record<string, unknown> {
    accountId?: string
    grantId?: string
    uid?: string
    consumed?: number
  }

  export interface Adapter {
    upsert (id: string, payload: AdapterPayload, expiresIn: number): Promise<void>
    find (id: string): Promise<AdapterPayload | undefined>
    findByUid (uid: string): Promise<AdapterPayload | undefined>
    consume (id: string): Promise<void>
    destroy (id: string): Promise<void>
    revokeByGrantId (grantId: string): Promise<void>
  }

  export class Provider extends EventEmitter {
    constructor (issuer: string, configuration: Record<string, unknown>)
    Client: { prototype: { redirectUriAllowed (uri: string): boolean, includeSid (): boolean } }
    OIDCContext: { prototype: { clientJwtAuthExpectedAudience (): Set<string> } }
    AccessToken: new (properties: { client: Client, accountId: string, gty: string, scope: string }) => AccessToken
    IdToken: { validate (jwt: string, client: Client): Promise<{ payload: { sub: string, exp: number } }> }
    ResourceServer: new (identifier: string, properties: object) => object
    Grant: new (properties: { accountId: string, clientId: string }) => Grant
    registerGrantType (name: string, handler: (ctx: Context) => Promise<void>, parameters: string[]): void
    use (middleware: (ctx: Context, next: () => Promise<void>) => Promise<void>): this
    callback (): RequestListener
    interactionDetails (req: IncomingMessage, res: ServerResponse): Promise<Interaction>
    interactionFinished (req: IncomingMessage, res: ServerResponse, result: Record<string, unknown>): Promise<void>
  }

  export const errors: {
    InvalidTarget: new () => Error
    InvalidGrant: new (detail: string) => Error
    UnauthorizedClient: new (description: string) => Error
    UnsupportedGrantType: new () => Error
    InvalidRequest: new (description: string) => Error
    InvalidScope: new (description: string, scope: string) => Error
  }

  export interface InteractionPolicy {
    add (prompt: object, index: number): void
    get (name: string): { checks: object[] } | undefined
  }

  export const interactionPolicy: {
    base (): InteractionPolicy
    Prompt: new (properties: { name: string, requestable: boolean }) => object
    Check: {
      new (reason: string, description: string, check: (ctx: Context) => boolean): object
      REQUEST_PROMPT: boolean
      NO_NEED_TO_PROMPT: boolean
    }
  }
}
