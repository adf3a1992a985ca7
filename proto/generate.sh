#!/bin/sh
# Generates *.pb.go. Needs protoc (Debian: protobuf-compiler); fetches the generator at the version that go.mod names.
set -eu
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
GOBIN=$bin go install github.com/gogo/protobuf/protoc-gen-gogofaster@v1.3.2
gogo=$(go list -m -f '{{.Dir}}' github.com/gogo/protobuf)
T=Mgoogle/protobuf/timestamp.proto=github.com/gogo/protobuf/types,Mgoogle/protobuf/duration.proto=github.com/gogo/protobuf/types
PATH=$bin:$PATH protoc -I . -I "$gogo" -I "$gogo/protobuf" --gogofaster_out=paths=source_relative,$T:. ./*.proto
