# The image of Seed:
#
#   docker build -t seed-mcp-server:latest .
#   docker run -d --name seed -p 127.0.0.1:3000:3000 --env-file .env seed-mcp-server:latest
#
# To add your own tools, prompts and resources: -v "$PWD/extensions:/extensions:ro" -e SEED_EXTENSIONS=/extensions
#
# The active LTS of Node.js. For reproducible builds, pin the tag to a digest (node:26-alpine@sha256:…).
ARG NODE_IMAGE=node:26-alpine

# Production packages. The bundle contains its own copies; extensions import from these.
FROM ${NODE_IMAGE} AS deps
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts

# Bundles the TypeScript sources into a few JavaScript files.
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
# Running Seed needs Node.js only.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx
WORKDIR /app
# root owns everything and the server writes nothing, so the file system can be mounted read-only.
COPY --from=deps /app/node_modules ./node_modules
COPY --from=build --chmod=555 /app/dist ./dist
# `docker exec seed seed revoke --subject …`
RUN ln -s /app/dist/src/cli.js /usr/local/bin/seed
# Seed reads the version that it reports from package.json.
COPY --chmod=444 package.json LICENSE ./
# HOST is the address inside the container; -p decides which addresses of the machine reach it.
ENV NODE_ENV=production \
    HOST=0.0.0.0
# The base image's user `node`, as a number so that Kubernetes can verify runAsNonRoot.
USER 1000:1000
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.PORT || 3000) + '/health/live').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# Start Node.js directly instead of npm, so that it receives SIGTERM.
CMD ["node", "--enable-source-maps", "--disable-proto=delete", "dist/src/server.js"]
