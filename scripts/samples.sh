#!/bin/sh
# Bring real photos and speech for the slow tests into .backhaul/samples, from Debian's packages. They are
# unpacked there and not installed: no root, and nothing of the system changes. Never part of what we ship.
#
#   mate-backgrounds              photos of up to 18 megapixels (GPL-2+)
#   asterisk-core-sounds-en-wav   telephone announcements of a second to a minute by one voice (CC-BY-SA 3.0)
#   libavcodec-extra59 and what it needs: the encoders of AMR, as phones write it (GPL-3+ as a
#   whole, Apache-2.0 the encoders); where a distribution has another ffmpeg there are none, and AMR is left out
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
samples=$root/.backhaul/samples

say() { printf 'samples: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

# Fetches packages into a folder and unpacks them there.
unpack() {
  name=$1
  shift
  [ ! -d "$samples/$name" ] || return 0
  say "bringing $*"
  rm -rf "$samples/$name.new"
  mkdir -p "$samples/$name.new"
  (
    cd "$samples/$name.new"
    # As root apt would hand over to a user of its own, who may not write here.
    apt-get -q -o APT::Sandbox::User=root -o Acquire::Retries=3 download "$@" >&2 || exit 1
    for package in *.deb; do dpkg-deb -x "$package" . && rm "$package"; done
  ) || return 1
  # Renamed when complete: half a package must not look like a whole one.
  mv "$samples/$name.new" "$samples/$name"
}

command -v apt-get >/dev/null || fail 'photos and speech come from Debian packages, and there is no apt-get: the tests of real media are left out'
unpack photos mate-backgrounds || fail 'could not bring mate-backgrounds; mend it with: apt-get update'
unpack speech asterisk-core-sounds-en-wav || fail 'could not bring asterisk-core-sounds-en-wav; mend it with: apt-get update'
unpack amr libavcodec-extra59 libopencore-amrnb0 libopencore-amrwb0 libvo-amrwbenc0 libaribb24-0 || say 'no encoders of AMR for this ffmpeg'
