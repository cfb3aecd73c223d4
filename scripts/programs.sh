# To be sourced. Tells which programs are missing.

# A program on PATH, or where the packages put it for people whose PATH lacks it: sbin folders for plain users,
# Postgres' versioned folders, Homebrew's.
has() {
  command -v "$1" >/dev/null && return 0
  for candidate in "/usr/sbin/$1" "/usr/local/sbin/$1" /usr/lib/postgresql/*/bin/"$1" \
    "/opt/homebrew/bin/$1" "/opt/homebrew/sbin/$1" /opt/homebrew/opt/postgresql*/bin/"$1" /usr/local/opt/postgresql*/bin/"$1"; do
    [ -x "$candidate" ] && return 0
  done
  return 1
}

# Names of what is missing, on one line. A server whose URL is set is somebody else's and not needed here.
missing_programs() {
  [ -n "${REDIS_URL:-}" ] || has redis-server || printf 'redis '
  [ -n "${RABBITMQ_URL:-}" ] || has rabbitmq-server || printf 'rabbitmq '
  [ -n "${DATABASE_URL:-}" ] || has postgres || printf 'postgresql '
  { has ffmpeg && has ffprobe; } || printf 'ffmpeg '
  has openssl || printf 'openssl '
}

# What decoders of hostile media are locked up with, what opens HEIC, and what the tests look at mails with. The worker
# does without the first two, and says so: all are brought where that can be done, and are no reason to stop.
missing_extras() {
  command -v apt-get >/dev/null || return 0
  has bwrap || printf 'bubblewrap '
  { has heif-convert && has heif-enc; } || printf 'libheif-examples '
  { has chromium || has google-chrome; } || printf 'chromium '
}
