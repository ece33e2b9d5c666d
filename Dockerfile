# The image of the gateway: one static binary, no shell, no root. Both stages are pinned.
#   docker build --build-arg VERSION="$(git describe --tags --always)" -t event-gateway:dev .

FROM golang:1.26.8-bookworm AS build
WORKDIR /src
# The modules change more rarely than the code: their layer stays cached.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# The build context carries no Git history, so the version comes from outside.
ARG VERSION=unknown
RUN make build VERSION="${VERSION}"
# Copied below for its owner: the last stage has no shell to make a folder with.
RUN mkdir /empty

FROM gcr.io/distroless/static-debian12:nonroot@sha256:d093aa3e30dbadd3efe1310db061a14da60299baff8450a17fe0ccc514a16639
COPY --from=build /src/gateway /gateway
# Without KAFKA_BROKERS the embedded broker writes here (EMBEDDED_DATA_DIR=data): mount a volume to keep its
# events.
COPY --from=build --chown=65532:65532 /empty /var/lib/event-gateway
WORKDIR /var/lib/event-gateway
USER 65532:65532
# gRPC, and HTTP for health, readiness and metrics.
EXPOSE 50051 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["/gateway", "healthcheck"]
ENTRYPOINT ["/gateway"]
