/** The grant type for assertions (RFC 7523 section 2.1): ID-JAGs, and the tokens of workloads. */
export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

/** The `typ` of an ID-JAG (draft-ietf-oauth-identity-assertion-authz-grant section 4). */
export const ID_JAG_TYPE = 'oauth-id-jag+jwt'
