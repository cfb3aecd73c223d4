# Each target is one line of scripts/run.sh, which sets up what is missing first; `npm run <target>` does the same.
RUN = sh scripts/run.sh

.DEFAULT_GOAL := help
.PHONY: help setup demo up down dev start check test test-unit test-int test-flow test-slow bench bench-bridge bench-growth bench-latency bench-media bench-notify fmt clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## bring Node, packages and servers where they are missing
	@$(RUN) setup

demo: ## the whole flow on real media; FILES="a.jpg b.mp4" takes your own
	@$(RUN) demo $(FILES)

up: ## start stack and fleet, and leave them running (addresses in .backhaul/env)
	@$(RUN) up

down: ## stop what `up` started
	@$(RUN) down

dev: ## stack and fleet in the foreground, restarted on every change
	@$(RUN) dev

start: ## run one service: make start SERVICE=bridge
	@$(RUN) start $(SERVICE)

check: ## types, lint, format, dead code, tiers
	@$(RUN) check

test: ## unit, integration and flow tests
	@$(RUN) test

test-unit: ## tests that need nothing
	@$(RUN) test unit

test-int: ## tests against the real servers
	@$(RUN) test int

test-flow: ## tests of the whole fleet
	@$(RUN) test flow

test-slow: ## flow tests that take minutes
	@$(RUN) test slow

bench: ## all benchmarks, into bench/results/
	@$(RUN) bench

bench-bridge: ## RabbitMQ to queue, against the common designs
	@$(RUN) bench bridge

bench-growth: ## adds per second as the backlog grows
	@$(RUN) bench growth

bench-latency: ## publish to start of the work
	@$(RUN) bench latency

bench-media: ## what pictures, videos and voice notes cost, against the bare work
	@$(RUN) bench media

bench-notify: ## notifications per second, against other job queues
	@$(RUN) bench notify

fmt: ## format the sources
	@$(RUN) fmt

clean: ## stop everything, remove its data and logs
	@$(RUN) clean
