# Shared by the scripts of this folder; sourced. Sets $images, the cache folder.
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh

top=$(cd "$(dirname "$0")/../.." && pwd)
images=${LODGE_IMAGES:-$top/build/images}
mkdir -p "$images"
images=$(cd "$images" && pwd)
umask 022

say() {
    echo "$(basename "$0"): $*" >&2
}

die() {
    say "$*"
    exit 1
}

# apt with lists of its own: works for any user, also where nobody ran apt-get update.
private_apt() {
    program=$1
    shift
    mkdir -p "$images/apt/lists/partial" "$images/apt/cache/archives/partial"
    "$program" -o Dir::State::lists="$images/apt/lists" -o Dir::Cache="$images/apt/cache" \
        -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1 "$@"
}

# Runs apt-cache or apt-get with the system's package lists, or with private ones where the system
# has none or outdated ones.
with_lists() {
    if "$@" 2>/dev/null; then
        return 0
    fi
    if [ ! -e "$images/apt/updated" ]; then
        say "fetching package lists"
        private_apt apt-get update -qq >&2
        touch "$images/apt/updated"
    fi
    private_apt "$@"
}

# download_package NAME: the newest .deb of this name, into the present folder.
download_package() {
    if ! with_lists apt-get download -qq "$1" >&2; then
        rm -f "$images/apt/updated"
        with_lists apt-get download -qq "$1" >&2 || die "cannot download package '$1'"
    fi
}
