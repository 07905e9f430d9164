# CI runs these same targets. Only test needs a C compiler (for -race); build-lambda needs zip, docker needs Docker.
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS      = -s -w -X main.version=$(VERSION)
STATICCHECK  = honnef.co/go/tools/cmd/staticcheck@v0.8.2
BINARY       = bin/library
# Lambda's retired go1.x runtime was called by net/rpc; without it the linker drops 4 MB of 20.
BUILD        = CGO_ENABLED=0 go build -tags lambda.norpc -trimpath -ldflags "$(LDFLAGS)"

.PHONY: build run test soak chaos hostile broken-migrations bench lint build-lambda build-Function docker publish deploy undeploy user-data diagram help
.DEFAULT_GOAL := build

build: ## Build bin/library, static and stripped
	$(BUILD) -o $(BINARY) .

run: ## Serve on http://localhost:8000 from the source
	go run .

test: ## Run all the tests this machine can, with the race detector and in random order
	go test -race -shuffle=on ./...

SOAK_OPERATIONS ?= 1000000
soak: ## Compare the answers to SOAK_OPERATIONS (1000000) requests of many desks at once, and to the records of sixteen years, with those of a plain second library, on SQLite and on MySQL or MariaDB
	SOAK_OPERATIONS=$(SOAK_OPERATIONS) REPLAY_YEARS=16 REQUIRE_MYSQL=1 go test -count=1 -timeout 6h -v ./soak -rapid.checks=500

CHAOS_FOR   ?= 3m
chaos: ## Break everything in turn, under load, on one server, a MySQL group and Galera, for CHAOS_FOR (3m) each, and check what is left (needs MySQL with Group Replication, MariaDB with galera-4, haproxy; root to drop packets)
	CHAOS_FOR=$(CHAOS_FOR) REQUIRE_MYSQL=1 REQUIRE_HAPROXY=1 REQUIRE_GALERA=1 go test -count=1 -timeout 60m -v ./chaos

HOSTILE_FOR ?= 10s
hostile: ## Attack the program from 10,000 connections, in each way for HOSTILE_FOR (10s), alone and in 256 MB, and measure its memory (root for the 256 MB)
	HOSTILE_FOR=$(HOSTILE_FOR) go test -count=1 -timeout 60m -v -run '^TestHostile$$' ./chaos

BROKEN_OFF_TIMES ?= 200
broken-migrations: ## Kill and stop migrations at random moments, BROKEN_OFF_TIMES (200) on each engine, and check what is left (needs MySQL or MariaDB)
	BROKEN_OFF_TIMES=$(BROKEN_OFF_TIMES) REQUIRE_MYSQL=1 go test -count=1 -timeout 60m -run '^TestMigrate_' -v .

bench: ## Run the benchmarks; beside bare Fiber takes four minutes, a city's library some minutes to make, once in CITY_DATA, and two to measure (needs MySQL or MariaDB)
	go test -run '^$$' -bench . -benchmem -timeout 90m ./...

lint: ## Check format, go vet, staticcheck and go.mod
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt -w these:" $$unformatted >&2; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...
	go mod tidy -diff

build-lambda: dist/lambda-arm64.zip dist/lambda-amd64.zip ## Build dist/lambda-{arm64,amd64}/bootstrap and their zips

# Lambda finds the program by its name, bootstrap.
dist/lambda-%.zip: FORCE
	GOOS=linux GOARCH=$* $(BUILD) -o dist/lambda-$*/bootstrap .
	@rm -f $@ && zip -qj9 $@ dist/lambda-$*/bootstrap
	@wc -c dist/lambda-$*/bootstrap $@ | head -n 2
FORCE:

# sam build calls this (template.yaml, BuildMethod: makefile). It says where the program goes, but not what it is to run on: that is
# read where sam deploy reads it too.
LAMBDA_ARCH = $(shell sed -n 's/^ *Architectures: \[\([a-z0-9_]*\)\].*/\1/p' template.yaml)
GOARCH_OF   = $(patsubst x86_64,amd64,$(filter arm64 x86_64,$(LAMBDA_ARCH)))
build-Function:
	@[ -n "$(GOARCH_OF)" ] || { echo "template.yaml: the function's line Architectures must be [arm64] or [x86_64]" >&2; exit 1; }
	GOOS=linux GOARCH=$(GOARCH_OF) $(BUILD) -o "$(ARTIFACTS_DIR)/bootstrap" .
	@go version -m "$(ARTIFACTS_DIR)/bootstrap" | grep -q "GOARCH=$(GOARCH_OF)$$" || { echo "$(ARTIFACTS_DIR)/bootstrap is not for $(LAMBDA_ARCH), as template.yaml has it" >&2; exit 1; }

docker: ## Build the image library-management:VERSION
	docker build --build-arg VERSION=$(VERSION) -t library-management:$(VERSION) -t library-management:latest .

publish: ## Build the image for both architectures and push it: REPOSITORY=docker.io/… (deploy/publishing.md)
	VERSION=$(VERSION) deploy/publish.sh "$(REPOSITORY)"

deploy: user-data ## Create or update the stacks on AWS: IMAGE=… (deploy/README.md)
	deploy/deploy.sh $(if $(YES),-y) up

undeploy: ## Delete the stacks; a last snapshot of the database stays
	deploy/deploy.sh $(if $(YES),-y) down

user-data: ## Put deploy/ec2/user-data.sh into the app's template
	@awk -f deploy/user-data.awk deploy/ec2/user-data.sh deploy/stack/app.yaml >deploy/stack/app.yaml.new
	@cmp -s deploy/stack/app.yaml.new deploy/stack/app.yaml || cp deploy/stack/app.yaml.new deploy/stack/app.yaml
	@rm deploy/stack/app.yaml.new

diagram: ## Draw deploy/architecture.dot again (needs Graphviz)
	dot -Tsvg -o deploy/architecture.svg deploy/architecture.dot
	dot -Tpng -Gdpi=110 -o deploy/architecture.png deploy/architecture.dot

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16
