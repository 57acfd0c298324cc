import { Type } from 'typebox'

/**
 * Visible ASCII (RFC 6749 appendix A.1, without the space): people read a client id, so it must not have look-alikes or
 * invisible characters. As long as the URL of a metadata document may be.
 */
export const ClientIdSchema = Type.String({ minLength: 1, maxLength: 2048, pattern: '^[\\x21-\\x7e]+$' })

/**
 * An error of the token, revocation, registration or logout endpoint (RFC 6749 section 5.2, RFC 7591 section 3.2.2).
 */
export const OAuthErrorSchema = Type.Object({
  error: Type.String(),
  error_description: Type.Optional(Type.String())
})

/** An error outside a protocol: metadata documents, health, unknown paths, refused hosts. */
export const ErrorSchema = Type.Object({
  error: Type.String(),
  message: Type.String(),
  reference: Type.Optional(Type.String())
})

/** A page for a person in a browser. */
export const HtmlSchema = Type.String()

/** A redirect has no body. */
export const RedirectSchema = Type.Null()
