.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the commands into bin/
	go build -o bin/ ./cmd/...

.PHONY: test
test: ## run the tests
	go test ./...

.PHONY: race
race: ## run the short tests under the race detector
	go test -race -short ./...

.PHONY: generate
generate: ## write the generated Go beside the .proto files, and docs/grpc.md and docs/errors.md
	@tools/proto generate
	go generate ./internal/docs

.PHONY: check-generated
check-generated: ## fail if "make generate" would change anything
	@tools/proto check

.PHONY: lint
lint: ## lint the Go code
	@tools/build lint
	.build/bin/golangci-lint run ./...

.PHONY: lint-proto
lint-proto: ## lint the .proto files and check their format
	@tools/proto lint

.PHONY: breaking
breaking: ## compare the .proto files with main (BASE=... for another revision)
	@tools/proto breaking $(or $(BASE),main)

.PHONY: format
format: ## rewrite Go and .proto files in their format
	@tools/build lint
	.build/bin/golangci-lint fmt
	@tools/proto format

.PHONY: tools
tools: ## build the pinned development tools into .build/bin
	@tools/build

.PHONY: ci
ci: ## run everything that a change has to pass
	bash .ci/run

.PHONY: clean
clean: ## remove everything that was built
	rm -rf bin .build
