# Two images: the scheduler (`--target scheduler`) and, for agents that run executors in containers or for CI that
# registers versions, the executor (`--target executor`). Neither runs as root.
#
#   docker build --target scheduler --build-arg VERSION=1.5.0 -t tidemill:1.5.0 .
#   docker build --target executor --build-arg VERSION=1.5.0 -t tidemill-executor:1.5.0 .

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY . .

FROM build AS build-scheduler
ARG VERSION=0.1.0-dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X github.com/tidemill/tidemill/cmd/internal/build.stamp=$VERSION" \
    -o /out/tidemill ./cmd/tidemill \
 && mkdir -p /out/data

FROM build AS build-executor
ARG VERSION=0.1.0-dev
RUN go run ./cmd/tidemill-dev build-executor --version "$VERSION" --output /out/tidemill-executor

# The scheduler is one static file; certificates are for S3 and for masters behind TLS. It needs to be told as whom
# executors run on the agents (TIDEMILL_MESOS_USER), where the master is, and a token to listen beyond loopback:
#
#   docker run -e TIDEMILL_TOKEN=… -e TIDEMILL_MESOS_USER=tidemill -v tidemill:/var/lib/tidemill -p 8080:8080 tidemill \
#     serve --data-dir /var/lib/tidemill --listen 0.0.0.0:8080 --url http://scheduler.example:8080 --mesos-master http://master.example:5050
FROM scratch AS scheduler
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build-scheduler /out/tidemill /usr/bin/tidemill
COPY --from=build-scheduler --chown=65532:65532 /out/data /var/lib/tidemill
USER 65532:65532
VOLUME /var/lib/tidemill
EXPOSE 8080
ENTRYPOINT ["/usr/bin/tidemill"]
CMD ["serve", "--data-dir", "/var/lib/tidemill"]

# The executor asks for glibc and nothing else.
FROM debian:bookworm-slim AS executor
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build-executor /out/tidemill-executor /usr/bin/tidemill-executor
USER 65532:65532
ENTRYPOINT ["/usr/bin/tidemill-executor"]
