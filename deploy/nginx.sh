#!/bin/sh
# nginx for deploy/Procfile: as any user, beside the system's own, with a folder that is gone afterwards. SIGHUP reloads it.
#
# At the end nginx finishes what it has begun, like the web processes. SIGTERM would make it drop everybody, so it is asked
# with SIGQUIT; setsid keeps it out of the group that honcho sends SIGTERM to.
set -eu

PATH="$PATH:/usr/sbin"  # where Debian has it, and only root looks
here=$(cd "$(dirname "$0")" && pwd)
if [ "$(id -u)" = 0 ]; then  # nginx then works as another user, who must get to the cache, also where TMPDIR is closed to others
    folder=$(mktemp -d /tmp/bittrade-nginx.XXXXXX)
    chmod 711 "$folder"
else
    folder=$(mktemp -d)
fi
trap 'rm -rf "$folder"' EXIT

setsid nginx -e stderr -p "$folder" -c "$here/nginx-alone.conf" &
nginx=$!
trap 'kill -QUIT "$nginx"' INT TERM
trap 'kill -HUP "$nginx"' HUP

while :; do  # each signal cuts a wait short
    wait "$nginx" && status=0 || status=$?
    kill -0 "$nginx" 2>/dev/null || break
done
exit "$status"
