/** The grant type for assertions (RFC 7523 section 2.1): ID-JAGs, and the tokens of workloads. */
export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
