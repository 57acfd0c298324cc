import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { ServerIcon } from '../src/http/server-icon.ts'
import { renderHomePage } from '../src/pages/home.ts'
import type { HomePage } from '../src/pages/home.ts'
import { HOME_PAGE_HEADERS } from '../src/pages/layout.ts'
import { ErrorSchema, HtmlSchema } from '../src/schemas/common.ts'

export interface HomeRouteOptions extends Omit<HomePage, 'icon' | 'isAvailable'> {
  icon: ServerIcon | undefined
  /** Path of the icon for the page: below that of BASE_URL. */
  iconPath: string
  /** False leaves the icon alone (HOME_PAGE). */
  showPage: boolean
  isAvailable: () => boolean
}

export const ICON_PATH = '/icon'

/** An SVG may have scripts, which must not run if somebody opens it by itself. */
const ICON_HEADERS = {
  'cache-control': 'public, max-age=3600',
  'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; sandbox",
  'cross-origin-resource-policy': 'cross-origin'
}

/** GET /: a page with the address of the MCP endpoint, and its icon. Clients that POST here learn it from the 404. */
const homeRoutes: FastifyPluginAsyncTypebox<HomeRouteOptions> = async (app, options) => {
  const { icon, iconPath, showPage, isAvailable, ...page } = options
  const errors = { '4xx': ErrorSchema, '5xx': ErrorSchema }
  const config = { auth: 'public' } as const

  if (icon !== undefined) {
    app.get(ICON_PATH, { exposeHeadRoute: true, config }, async (_request, reply) =>
      reply.headers(ICON_HEADERS).type(icon.mimeType).send(icon.bytes))
  }
  if (!showPage) return
  const render = (isAvailable: boolean) => renderHomePage({ ...page, icon: icon && iconPath, isAvailable })
  const [available, unavailable] = [render(true), render(false)]
  app.get('/', { exposeHeadRoute: true, config, schema: { response: { 200: HtmlSchema, ...errors } } },
    async (_request, reply) => reply.headers(HOME_PAGE_HEADERS).send(isAvailable() ? available : unavailable))
}

export default homeRoutes
