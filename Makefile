# Every target installs what it needs; `make demo` and `make test` are the two to begin with.
.PHONY: help install build generate check test servers demo bench steady clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

node_modules/.installed: package-lock.json
	npm ci
	@touch $@

install: node_modules/.installed ## npm packages

build: install ## dist/nomad-access.js, one executable
	npm run --silent build

generate: install ## crds/ and docs/kinds/ from the kinds
	npx tsx src/generate.ts

check: install ## types, lint, format, generated files
	npx tsc --noEmit
	npx eslint .
	npx prettier --check .
	npx tsx src/generate.ts --check

servers: ## real Nomad, Vault, etcd and kube-apiserver for the tests, and helm; prints where they are
	@test/servers/build.sh

test: check build ## everything, real servers included
	@test/servers/build.sh >&2
	mkdir -p .test-results
	npx vitest run --reporter=default --reporter=json --outputFile.json=.test-results/vitest.json

demo: build ## the whole life of a resource, on the sandbox
	@node manifests/demo/demo.mjs

bench: build ## figures beside their raw ceilings, on real servers
	@test/servers/build.sh nomad vault etcd kube-apiserver kubectl >&2
	npx tsx test/bench/bench.ts
	npx tsx test/bench/kubernetes.ts

steady: build ## what it costs when nothing changes: ten minutes over 10,000 resources, on real servers
	@test/servers/build.sh nomad vault >&2
	npx tsx test/bench/steady.ts

clean:
	rm -rf dist node_modules .test-results
