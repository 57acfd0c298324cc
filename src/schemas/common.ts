import { Type } from 'typebox'

/** RFC 6749 section 5.2 and RFC 7591 section 3.2.2: every error of the token and registration endpoints. */
export const OAuthErrorSchema = Type.Object({
  error: Type.String(),
  error_description: Type.Optional(Type.String())
})

/** Errors outside any protocol: unknown paths, refused hosts. */
export const ErrorSchema = Type.Object({
  error: Type.String(),
  message: Type.String(),
  reference: Type.Optional(Type.String())
})

/** A page for a person. */
export const HtmlSchema = Type.String()

/** A redirect has no body. */
export const RedirectSchema = Type.Null()
