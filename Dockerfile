# Cross-compiled on the builder's own platform: emulating the target's is many times slower. "linux" is the builder's own
# too, for the classic builder, which knows no BUILDPLATFORM.
FROM --platform=${BUILDPLATFORM:-linux} golang:1.26-bookworm AS source
WORKDIR /src
COPY . .
# What git calls this source, or dev where there is no .git. Most files are not here, and are not missed: one that is here and
# differs makes it dirty, unless by the mode or the line ends, which are Windows' own.
RUN version=dev; if git read-tree HEAD; then \
      version=$(git describe --tags --always) \
      && { git -c core.fileMode=false -c core.autocrlf=input diff --quiet --diff-filter=M HEAD || version=$version-dirty; }; \
    fi; echo "$version" >/version && rm -rf .git

FROM --platform=${BUILDPLATFORM:-linux} golang:1.26-bookworm AS build
WORKDIR /src
# The modules first: they are downloaded again only when they change.
COPY go.mod go.sum ./
RUN go mod download
COPY --from=source /src .
COPY --from=source /version /version
# TARGETOS and TARGETARCH are empty with the classic builder, and mean the builder's own then. VERSION: empty means what git
# says. The tag: see the Makefile.
ARG TARGETOS TARGETARCH VERSION
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -tags lambda.norpc -trimpath -ldflags "-s -w -X main.version=${VERSION:-$(cat /version)}" -o /out/library . \
 && mkdir /out/data

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/library /library
COPY --from=build --chown=65532:65532 /out/data /data
# Where no database is named, the SQLite file is here, in a volume, so that the root file system can be read-only; SQLite's
# own temporary files go there too.
WORKDIR /data
ENV SQLITE_TMPDIR=/data
# A container has to be reached from outside. Beyond this machine calls need a key, unless AUTH=off: docs/access.md.
ENV HOST=0.0.0.0
VOLUME /data
USER 65532
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["/library", "healthcheck"]
ENTRYPOINT ["/library"]
