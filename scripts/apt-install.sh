#!/bin/sh
# Install Debian packages as root, without starting, stopping or enabling any server.
# Arguments: names of packages.
set -eu

export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
cluster_config=/etc/postgresql-common/createcluster.conf
made_policy=
set_cluster=

restore() {
  [ -z "$made_policy" ] || rm -f "$policy"
  if [ -n "$set_cluster" ]; then mv -f "$cluster_config.before-backhaul" "$cluster_config"; fi
}
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

apt() { apt-get -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -qq "$@" </dev/null; }
install() { apt install -y --no-install-recommends "$@"; }

refresh_lists() {
  for pause in 5 20 0; do
    apt update && return 0
    [ "$pause" = 0 ] || sleep "$pause"
  done
  return 1
}

# No lists, or none from the last day: packages that they name may be gone from the mirror.
lists=$(find /var/lib/apt/lists -name '*_Packages*' -mtime -1 2>/dev/null | head -n 1)
[ -n "$lists" ] || refresh_lists

# Debian's way to forbid package scripts to start servers (101: forbidden by policy). An existing one is the
# administrator's.
if [ ! -e "$policy" ]; then
  made_policy=yes
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
fi

# What was there before keeps its place at boot; what we bring must not begin to run at the next one.
is_installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed'; }
new_units=
for package; do
  is_installed "$package" && continue
  case $package in
    redis-server | rabbitmq-server | postgresql) new_units="$new_units $package" ;;
  esac
done

case " $* " in
  *' postgresql '*)
    # Else the package makes a cluster that listens on the standard port once it is started.
    install postgresql-common || { refresh_lists && install postgresql-common; }
    if [ -f "$cluster_config" ]; then
      cp -p "$cluster_config" "$cluster_config.before-backhaul"
      set_cluster=yes
      echo 'create_main_cluster = false' >> "$cluster_config"
    fi
    ;;
esac

# A mirror that moved on between list and download: fresh lists, once more.
install "$@" || { refresh_lists && install "$@"; }

if [ -d /run/systemd/system ]; then
  for unit in $new_units; do systemctl disable "$unit" >/dev/null 2>&1 || :; done
fi
