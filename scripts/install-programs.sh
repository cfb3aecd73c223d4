# To be sourced by setup.sh. Installs programs with the system's package manager, and sees to it that this
# starts no server: neither now, nor at the next boot.

install_programs() {
  if has apt-get; then
    install_with_apt "$@"
  elif [ "$(uname -s)" = Darwin ]; then
    install_with_brew "$@"
  else
    use_containers_or_fail "$*" 'install them with the package manager of this system'
  fi
  still=$(missing_programs)
  [ -z "$still" ] || fail "installed, but not found: $still"
}

install_with_brew() {
  formulas=
  for name; do
    case $name in
      postgresql) formulas="$formulas postgresql@17" ;;
      openssl) formulas="$formulas openssl@3" ;;
      *) formulas="$formulas $name" ;;
    esac
  done
  command -v brew >/dev/null || use_containers_or_fail "$*" "install Homebrew (https://brew.sh), then: brew install$formulas"
  say "installing with Homebrew:$formulas"
  # shellcheck disable=SC2086
  HOMEBREW_NO_AUTO_UPDATE=1 brew install $formulas >&2 || fail "mend it with: brew install$formulas"
}

# Sets as_root to what goes before a command that needs root rights; fails where a password would be asked for.
become_root() {
  if [ "$(id -u)" = 0 ]; then
    as_root=
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root='sudo -n'
  else
    return 1
  fi
}

# Each by itself: a package that a distribution lacks must not keep the others away. What cannot be brought is named, and
# gone without.
install_extras() {
  for extra; do
    say "installing with apt-get: $extra"
    # shellcheck disable=SC2086
    become_root && $as_root sh "$root/scripts/apt-install.sh" "$extra" >&2 ||
      say "going on without $extra ($(use_of_extra "$extra")); to mend it: sudo sh '$root/scripts/apt-install.sh' $extra"
  done
}

use_of_extra() {
  case $1 in
    bubblewrap) echo 'decoders of media are held back less' ;;
    libheif-examples) echo 'HEIC pictures are refused' ;;
    chromium) echo 'tests do not look at mails' ;;
  esac
}

install_with_apt() {
  packages=
  for name; do
    case $name in
      redis) packages="$packages redis-server" ;;
      rabbitmq) packages="$packages rabbitmq-server" ;;
      *) packages="$packages $name" ;;
    esac
  done
  # Not apt-get itself: that would start the servers on their standard ports.
  mend="sudo sh '$root/scripts/apt-install.sh'$packages"
  become_root || use_containers_or_fail "$*" "root rights are needed to install it; run: $mend"
  # Comes along when something is installed anyway; it is no reason to ask for root by itself.
  has make || packages="$packages make"
  say "installing with apt-get:$packages"
  # A program of its own, so that its traps and its root rights end with it.
  # shellcheck disable=SC2086
  $as_root sh "$root/scripts/apt-install.sh" $packages >&2 || fail "apt-get failed, see above; to try again, run: $mend"
}

# Where a Docker engine answers, the servers can run in containers; ffmpeg and openssl cannot.
use_containers_or_fail() {
  case " $1 " in
    *' ffmpeg '* | *' openssl '*) ;;
    *)
      if command -v docker >/dev/null && docker_answers; then
        # shellcheck disable=SC2086
        sh "$root/scripts/containers.sh" start $1 && exit 0
      fi
      ;;
  esac
  fail "missing: $1
       $2"
}

# `docker info` waits for ever on some broken installations.
docker_answers() {
  docker info >/dev/null 2>&1 &
  info=$!
  (sleep 5 && kill "$info") 2>/dev/null &
  timer=$!
  wait "$info" 2>/dev/null
  answer=$?
  kill "$timer" 2>/dev/null
  return "$answer"
}
