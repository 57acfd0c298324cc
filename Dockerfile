# The image of Seed:
#
#   docker build -t seed-mcp-server:latest .
#   docker run -d --name seed -p 127.0.0.1:3000:3000 --env-file .env seed-mcp-server:latest
#
# With tools, prompts and resources of your own: -v "$PWD/extensions:/extensions:ro" -e SEED_EXTENSIONS=/extensions
#
# Node's active LTS. For builds that can be repeated, pin the tag to a digest (node:26-alpine@sha256:…).
ARG NODE_IMAGE=node:26-alpine

# Production packages alone: what ships brings its own along, and extensions import from these.
FROM ${NODE_IMAGE} AS deps
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts

# TypeScript to JavaScript, in a few files.
FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json ./
COPY dev/bundle.js ./dev/
COPY plugins ./plugins
COPY routes ./routes
COPY src ./src
RUN npm run build

FROM ${NODE_IMAGE} AS runtime
LABEL org.opencontainers.image.title="seed-mcp-server" \
      org.opencontainers.image.description="MCP server with OpenID Connect sign-in" \
      org.opencontainers.image.licenses="MIT"
# Node alone is needed to run.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx
WORKDIR /app
# Everything belongs to root, and the server writes nothing: the file system may be mounted read-only.
COPY --from=deps /app/node_modules ./node_modules
COPY --from=build --chmod=555 /app/dist ./dist
# `docker exec seed seed revoke --subject …`
RUN ln -s /app/dist/src/cli.js /usr/local/bin/seed
# The version that Seed reports is read from package.json.
COPY --chmod=444 package.json LICENSE ./
# HOST: the address inside the container; which addresses of the machine reach it is up to -p.
ENV NODE_ENV=production \
    HOST=0.0.0.0
# The base image's user `node`, as a number so that Kubernetes' runAsNonRoot can tell that it is not root.
USER 1000:1000
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.PORT || 3000) + '/health/live').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# Node itself and not npm, so that SIGTERM reaches it.
CMD ["node", "--enable-source-maps", "--disable-proto=delete", "dist/src/server.js"]
