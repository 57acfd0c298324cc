/**
 * `npm run lint` finds import circles with it, those of type imports included. What a folder may import is in
 * eslint.config.js.
 */
export default {
  forbidden: [{ name: 'no-circular', severity: 'error', from: {}, to: { circular: true } }],
  options: { tsPreCompilationDeps: true, doNotFollow: { path: 'node_modules' } }
}
