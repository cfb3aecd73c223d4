#!/bin/sh
# What every make target and npm script calls: set up what is missing, then run the command on the right Node.
#
#   sh scripts/run.sh <command> [arguments]
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
command=${1:-help}
[ $# = 0 ] || shift

usage() {
  cat >&2 <<'HELP'
usage: sh scripts/run.sh <command> [arguments]

  setup                 bring what is missing
  demo [files]          the whole flow on real media, once
  up | down             start stack and fleet, and leave them running; stop them
  dev [services]        stack and fleet, restarted on every change
  start <service>       one service, with the variables of the environment or of .env
  check [checks]        everything that can be checked without running it
  test [project|files]  unit, int and flow tests; or only: unit, int, flow, slow, or vitest's own arguments
  bench [name]          all benchmarks, or one
  fmt                   format the sources
  backhaul [arguments]  the command line: publish, status, queues, jobs, dlq, doctor
  clean                 stop everything and remove its data and logs
HELP
}

# shellcheck source=scripts/node-path.sh
. "$root/scripts/node-path.sh"

if [ "$command" = backhaul ]; then
  # Before set-up, which writes to standard output: that belongs to the answer. Before the containers' variables as
  # well: the command takes those of the running stack, all of them or none.
  if ! find_node || [ ! -d "$root/node_modules" ]; then
    echo "backhaul: not set up yet: make setup" >&2
    exit 2
  fi
  # npm goes to the root; names of files count from where the caller is.
  [ -z "${INIT_CWD:-}" ] || cd "$INIT_CWD"
  exec "$node" "$root/services/cli/src/main.ts" "$@"
fi

# Servers that set-up had to put into containers.
containers=$root/.backhaul/containers.env
# shellcheck disable=SC1090
if [ -f "$containers" ]; then . "$containers"; fi

case $command in
  help | -h | --help)
    usage
    exit 0
    ;;
  down | clean)
    # Nothing is installed in order to stop something.
    if [ -d "$root/node_modules" ] && find_node; then "$node" "$root/tools/up.ts" down; fi
    if [ -f "$containers" ]; then sh "$root/scripts/containers.sh" stop; fi
    [ "$command" = clean ] || exit 0
    # Node itself and the stamp of the packages are set-up's, not data.
    for entry in "$root"/.backhaul/*; do
      case ${entry##*/} in node | packages.stamp | setup.lock) ;; *) rm -rf "$entry" ;; esac
    done
    rm -rf "$root/logs" "$root/coverage"
    exit 0
    ;;
esac

sh "$root/scripts/setup.sh"
[ "$command" != setup ] || exit 0
# shellcheck disable=SC1090
if [ -f "$containers" ]; then . "$containers"; fi
find_node
# Tools look Node and each other up on PATH, as under npm.
PATH=$(dirname -- "$node"):$root/node_modules/.bin:$PATH
export PATH
cd "$root"

# Real photos and speech, for the slow tests alone. Where they cannot be had the tests leave them out, but not unseen.
if [ "$command" = test ] && [ "${1:-}" = slow ]; then sh scripts/samples.sh || [ "${CI:-}" != true ]; fi

case $command in
  demo | check | test) exec "$node" "tools/$command.ts" "$@" ;;
  up) exec "$node" tools/up.ts "$@" ;;
  dev) exec "$node" tools/dev.ts "$@" ;;
  start)
    service=${1:-}
    if [ -z "$service" ] || [ ! -f "services/$service/src/main.ts" ]; then
      echo "which service? one of:" >&2
      for main in services/*/src/main.ts; do main=${main#services/} && echo "  ${main%%/*}" >&2; done
      exit 2
    fi
    shift
    # Variables that are set already win over the file.
    if [ -f .env ]; then exec "$node" --env-file=.env "services/$service/src/main.ts" "$@"; fi
    exec "$node" "services/$service/src/main.ts" "$@"
    ;;
  bench)
    if [ $# = 0 ]; then exec "$node" bench/all.ts; fi
    name=$1
    shift
    exec "$node" "bench/$name.ts" "$@"
    ;;
  fmt) exec "$node" node_modules/oxfmt/bin/oxfmt "$@" ;;
  *)
    echo "no such command: $command" >&2
    usage
    exit 2
    ;;
esac
