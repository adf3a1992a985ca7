#!/usr/bin/env bash
# Three schedulers, of which one leads, three Mesos masters, of which one leads, two agents and a ZooKeeper, all on
# loopback: to see what happens when something is killed. Needs Go, a C/C++ compiler, Java 17 and, the first time, Maven.
#
#   examples/high-availability.sh [DIRECTORY]     everything is kept there; default a temporary one
#
# It prints what to try and runs until Ctrl-C, which stops all of it.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(realpath -m "${1:-$(mktemp -d)}")
mkdir -p "$dir/bin" "$dir/log" "$dir/objects"

declare -A pids
stop() {
  trap - EXIT INT TERM
  for name in "${!pids[@]}"; do kill "${pids[$name]}" 2>/dev/null || true; done
  wait
}
trap stop EXIT
trap exit INT TERM

# begin NAME COMMAND…: starts it in the background; standard output and error go to log/NAME and log/NAME.err.
begin() {
  local name=$1
  shift
  "$@" >"$dir/log/$name" 2>"$dir/log/$name.err" &
  pids[$name]=$!
  echo $! >"$dir/log/$name.pid"
}

# await NAME COMMAND…: waits for a minute until the command succeeds. NAME is what is waited for.
await() {
  local name=$1
  shift
  for _ in $(seq 600); do
    if "$@" >/dev/null 2>&1; then return; fi
    if ! kill -0 "${pids[$name]}" 2>/dev/null; then break; fi
    sleep 0.1
  done
  echo "$name does not come up:" >&2
  tail -n 5 "$dir/log/$name.err" >&2
  exit 1
}

echo "building, and keeping everything in $dir" >&2
CGO_ENABLED=0 go build -o "$dir/bin/" ./cmd/tidemill
go build -o "$dir/bin/" ./cmd/tidemill-dev
[ -e "$dir/bin/tidemill-executor" ] || "$dir/bin/tidemill-dev" build-executor --version 1.0.0 --output "$dir/bin/tidemill-executor"

begin zookeeper "$dir/bin/tidemill-dev" zookeeper --data-dir "$dir/zookeeper"
await zookeeper grep -q ready "$dir/log/zookeeper"
zookeeper=$(sed 's/^ready zk:..//' "$dir/log/zookeeper")

for i in 1 2 3; do
  begin "master$i" "$dir/bin/tidemill-dev" mesos-master --zk "zk://mesos:secret@$zookeeper/mesos" --registry "$dir/registry"
done
for i in 1 2; do
  begin "agent$i" "$dir/bin/tidemill-dev" mesos-agent --master "zk://mesos:secret@$zookeeper/mesos" --work-dir "$dir/agent$i" \
    --hostname "host$i" --resources "cpus:4;mem:4096;disk:10240" --attributes "zone:$i;os:$(go env GOOS);arch:$(go env GOARCH)"
done

# The connection "s3", which jobs use unless they name another, is a directory here.
echo '{"connections": {"s3": {"type": "file", "root": "'"$dir"'"}}}' >"$dir/connections.json"
chmod 600 "$dir/connections.json"

# Everything that the schedulers share is the same for all. On one machine there is no balancer: agents fetch executors
# from the first scheduler, and keep them.
export TIDEMILL_STORE="zk://tidemill:secret@$zookeeper/tidemill" TIDEMILL_MESOS_MASTER="zk://mesos:secret@$zookeeper/mesos"
for i in 1 2 3; do
  begin "scheduler$i" "$dir/bin/tidemill" serve --listen "127.0.0.1:808$i" --data-dir "$dir/scheduler$i" --objects "file://$dir/objects" \
    --artifact-url http://127.0.0.1:8081/artifacts --connections-file "$dir/connections.json" --executor-connections-file "$dir/connections.json"
done
unset TIDEMILL_STORE TIDEMILL_MESOS_MASTER
for i in 1 2 3; do await "scheduler$i" curl -fs "http://127.0.0.1:808$i/readyz"; done
await scheduler1 sh -c 'curl -fs http://127.0.0.1:8082/v1/info | grep -q "\"connected\": *true"'

mkdir -p "$dir/flights/2013"
cp examples/data/flights/*.gz "$dir/flights/2013/"
sed "s#s3://flights/#file://$dir/flights/#; s#s3://results/#file://$dir/results/#" examples/flights-by-carrier.json >"$dir/flights-by-carrier.json"
export TIDEMILL_SERVER=http://127.0.0.1:8082
"$dir/bin/tidemill" executors push "$dir/bin/tidemill-executor" >&2
"$dir/bin/tidemill" channels set stable 1.0.0 >&2

cat <<END
ready

Any of the three schedulers takes requests: 8081, 8082, 8083. Try, in another terminal:

  export PATH=$dir/bin:\$PATH TIDEMILL_SERVER=http://127.0.0.1:8082
  tidemill info
  tidemill submit $dir/flights-by-carrier.json --run --watch
  kill -9 \$(cat $dir/log/scheduler1.pid)       # or of another one, a master, an agent, the zookeeper: log/*.pid
  tidemill info
  tidemill run flights-by-carrier --watch

Ctrl-C stops all of it.
END
wait
