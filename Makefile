.DEFAULT_GOAL := help
SHELL := bash

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: tools
tools: ## build the pinned development tools into .build/bin
	@tools/build

.PHONY: generate
generate: ## write the generated Go beside the .proto files
	@tools/proto generate

.PHONY: check-generated
check-generated: ## fail if "make generate" would change anything
	@tools/proto check

.PHONY: lint-proto
lint-proto: ## lint the .proto files and check their format
	@tools/proto lint
