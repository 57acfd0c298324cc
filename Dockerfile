# The image of Seed. The legacy builder, BuildKit and buildah all build it:
#
#   docker build -t seed-mcp-server:latest .
#   docker run -d --name seed -p 127.0.0.1:3000:3000 --env-file .env seed-mcp-server:latest
#   docker run --rm --env-file .env seed-mcp-server:latest doctor
#
# To add your own tools, prompts and resources: -v "$PWD/extensions:/extensions:ro" -e SEED_EXTENSIONS=/extensions
# buildah and podman keep the health check with --format docker only. docs/deploy.md says how to pin the base image to
# a digest and how to set the labels.
#
# The active LTS of Node.js.
ARG NODE_IMAGE=node:26-alpine

# Bundles the TypeScript sources and the production packages into a few JavaScript files. `npm run check` checks types.
FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY deploy/image/build-packages.js ./deploy/image/
RUN node deploy/image/build-packages.js && npm ci
COPY dev ./dev
COPY plugins ./plugins
COPY routes ./routes
COPY src ./src
RUN node dev/bundle.js dist
COPY deploy/image ./deploy/image
COPY package.json LICENSE ./
# Node.js refuses options that it does not know; this one, since 24.6, makes the heap fit the container's memory.
RUN option=--max-old-space-size-percentage=60; \
    node "$option" -e 0 2> /dev/null || option=; \
    echo "$option" > node-options
# As the user whom the container runs as: Node.js keeps a cache for each.
USER 1000:1000
RUN mkdir -m 755 /tmp/compile-cache && \
    NODE_OPTIONS="$(cat node-options)" NODE_COMPILE_CACHE=/tmp/compile-cache node deploy/image/compile-cache.js
USER 0:0
# COPY --chmod would need BuildKit. root owns everything, and everyone may read it, whatever the umask of the checkout.
RUN mv /tmp/compile-cache . && \
    chown -R 0:0 compile-cache && \
    chmod -R a=rX compile-cache dist package.json LICENSE node-options && \
    chmod a=rx deploy/image/seed dist/src/cli.js

FROM ${NODE_IMAGE} AS runtime
# Running Seed needs Node.js only. Base images before 26 have yarn and corepack too.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack \
    /usr/local/bin/yarn /usr/local/bin/yarnpkg /opt/yarn*
# The server writes nothing here, so the file system can be mounted read-only.
WORKDIR /app
COPY --from=build /app/compile-cache ./compile-cache
COPY --from=build /app/dist ./dist
# Seed reads the version that it reports from package.json.
COPY --from=build /app/package.json /app/LICENSE /app/node-options ./
COPY --from=build /app/deploy/image/seed /usr/local/bin/seed
# HOST is the address inside the container; -p decides which addresses of the machine reach it.
ENV NODE_ENV=production \
    NODE_COMPILE_CACHE=/app/compile-cache \
    HOST=0.0.0.0
# The base image's user `node`, as a number so that Kubernetes can verify runAsNonRoot. Any other user works too.
USER 1000:1000
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 CMD ["seed", "health"]
ENTRYPOINT ["/usr/local/bin/seed"]
CMD ["serve"]
# What changes with each build comes last.
ARG NODE_IMAGE
ARG VERSION=0.1.3
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="seed-mcp-server" \
      org.opencontainers.image.description="MCP server with OpenID Connect sign-in" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${NODE_IMAGE}"
