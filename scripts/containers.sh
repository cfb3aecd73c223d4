#!/bin/sh
# Run servers in Docker containers on private loopback ports, where their packages cannot be installed.
#
#   containers.sh start redis rabbitmq postgresql    start those, write .backhaul/containers.env
#   containers.sh stop                               remove them and the file
#
# run.sh reads the file, so that the stack uses these servers instead of starting its own.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
file=$root/.backhaul/containers.env
# One set per checkout.
prefix=backhaul-$(printf '%s' "$root" | cksum | cut -d ' ' -f 1)

# start_one <name> <port inside> <docker arguments and image ..>; prints the port outside.
start_one() {
  name=$prefix-$1 inside=$2
  shift 2
  docker rm -f "$name" >/dev/null 2>&1 || :
  docker run -d --name "$name" -p "127.0.0.1::$inside" "$@" >/dev/null
  docker port "$name" "$inside/tcp" | head -n 1 | sed 's/.*://'
}

case ${1:-} in
  start)
    shift
    mkdir -p "$root/.backhaul"
    : > "$file.new"
    for server; do
      case $server in
        redis)
          port=$(start_one redis 6379 redis:7-alpine redis-server --save '' --appendonly yes --maxmemory-policy noeviction)
          echo "export REDIS_URL=redis://127.0.0.1:$port" >> "$file.new"
          ;;
        rabbitmq)
          port=$(start_one rabbitmq 5672 rabbitmq:3-alpine)
          echo "export RABBITMQ_URL=amqp://guest:guest@127.0.0.1:$port" >> "$file.new"
          ;;
        postgresql)
          port=$(start_one postgresql 5432 -e POSTGRES_USER=backhaul -e POSTGRES_HOST_AUTH_METHOD=trust postgres:17-alpine -c max_connections=200)
          echo "export DATABASE_URL=postgres://backhaul@127.0.0.1:$port/backhaul" >> "$file.new"
          ;;
      esac
    done
    mv "$file.new" "$file"
    ;;
  stop)
    for server in redis rabbitmq postgresql; do docker rm -f "$prefix-$server" >/dev/null 2>&1 || :; done
    rm -f "$file"
    ;;
  *)
    echo "usage: $0 start <server>.. | stop" >&2
    exit 2
    ;;
esac
