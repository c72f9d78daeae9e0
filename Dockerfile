# docker build -t nomad-access:0.1.0 .
#
# The tests check what can be checked without building it: what it copies, what it starts, who it runs as.

FROM node:20-slim AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json build.mjs ./
COPY src ./src
RUN npm run build

FROM node:20-alpine
# One file, with nothing beside it; the name says that it is a module.
COPY --from=build /src/dist/nomad-access.js /app/nomad-access.mjs
# The licences of what it has in it.
COPY --from=build /src/dist/nomad-access.js.LEGAL.txt /app/
COPY LICENSE /app/
ENV NODE_ENV=production
# No name: Kubernetes can only tell of a number that it is not root.
USER 65532:65532
EXPOSE 8080
# It ends on SIGTERM by itself, also as the first process of a container.
ENTRYPOINT ["node", "/app/nomad-access.mjs"]
CMD ["run", "--source", "kubernetes", "--listen", "0.0.0.0:8080"]
