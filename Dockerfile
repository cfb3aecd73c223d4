# One file for every service:
#
#   docker build --build-arg SERVICE=bridge -t backhaul/bridge .
#
# The sources run as they are (Node strips the types), so the image keeps the workspace's tree: Node refuses
# TypeScript below node_modules, and the links there lead out of it.

ARG NODE_VERSION=24.21.0

# Only what npm needs to install. Copied from here, the installation stays cached until one of these files changes.
FROM node:${NODE_VERSION}-bookworm-slim AS manifests
WORKDIR /app
COPY package.json package-lock.json ./
COPY packages packages
COPY services services
COPY bench/package.json bench/package.json
RUN find packages services -type f ! -name package.json -delete && find packages services -type d -empty -delete

FROM node:${NODE_VERSION}-bookworm-slim AS dependencies
ARG SERVICE
WORKDIR /app
COPY --from=manifests /app .
# npm counts the test machinery among what a linked package needs, and with it Firebase and S3: three times the size.
# Without install scripts: none is needed, and each is somebody else's code run at build time.
RUN npm pkg delete devDependencies --workspaces \
    && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --workspace=@backhaul/${SERVICE}

FROM node:${NODE_VERSION}-bookworm-slim
ARG SERVICE
# Only media needs more than Node: ffmpeg, heif-convert for HEIC, bubblewrap to lock both up, and jemalloc, because under glibc's allocator the memory of a process that
# decodes pictures grows by fragmentation. The preload file is the form of LD_PRELOAD that fits every architecture.
RUN if [ "$SERVICE" = media-worker ]; then \
      apt-get update \
      && apt-get install -y --no-install-recommends bubblewrap ffmpeg libheif-examples libjemalloc2 \
      && rm -rf /var/lib/apt/lists/* \
      && dpkg -L libjemalloc2 | grep 'libjemalloc\.so\.2$' > /etc/ld.so.preload; \
    fi
WORKDIR /app
COPY --from=dependencies /app .
COPY LICENSE tsconfig.json ./
COPY packages packages
COPY services/${SERVICE} services/${SERVICE}
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080
# By number, so that Kubernetes can see that it is not root.
USER 1000:1000
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/livez`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# The exec form, so that SIGTERM reaches the service and not a shell. It expands no variables: the folder does.
WORKDIR /app/services/${SERVICE}
CMD ["node", "src/main.ts"]
