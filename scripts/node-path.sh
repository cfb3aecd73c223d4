# To be sourced, with `root` set. Finds a Node that is new enough.

# The oldest that runs TypeScript sources without a flag, and the one that is brought when it is missing.
node_needed=22.18.0
node_brought=24.21.0

# Sets `node` to the path of a Node that is new enough; false when there is none. Sets `node_found` to the
# version of the one on PATH.
find_node() {
  node_found=
  # The brought one first: it was brought because the system's is too old.
  for node in "$root/.backhaul/node/bin/node" "$(command -v node || :)" /opt/homebrew/opt/node@24/bin/node /usr/local/opt/node@24/bin/node; do
    [ -x "$node" ] || continue
    node_found=$("$node" --version 2>/dev/null) || continue
    is_new_enough "${node_found#v}" && return 0
  done
  return 1
}

is_new_enough() {
  major=${1%%.*} minor=${1#*.}
  minor=${minor%%.*}
  [ "$major" -gt "${node_needed%%.*}" ] && return 0
  needed_minor=${node_needed#*.}
  [ "$major" -eq "${node_needed%%.*}" ] && [ "$minor" -ge "${needed_minor%%.*}" ]
}
