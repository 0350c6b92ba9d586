#!/bin/sh
# Installs the newest release of nolapse for this user: the binary into ~/.local/bin (Termux: $PREFIX/bin), with man pages and
# completions. Over an older version it puts the new one in its place and starts a running daemon again. Nothing else is touched.
#   sh install.sh [--force]      --force: also over a newer version
#   sh install.sh --uninstall    takes out what it installed; configuration and state stay
# NOLAPSE_BASE_URL: where the archives and SHA256SUMS are, in place of the address below, which a release fills in.
set -eu

base=${NOLAPSE_BASE_URL:-@REPOSITORY@/releases/latest/download}

fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

work=
staged=
cleanup() {
    if [ -n "$work" ]; then rm -rf "$work"; fi
    if [ -n "$staged" ]; then rm -f "$staged"; fi
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# where things go: "bin", "share"
places() {
    case ${PREFIX:-} in
    */com.termux/files/usr) bin=$PREFIX/bin share=$PREFIX/share zsh=zsh/site-functions ;;
    *)
        [ -n "${HOME:-}" ] || fail 'HOME is not set'
        bin=$HOME/.local/bin share=${XDG_DATA_HOME:-$HOME/.local/share} zsh=zsh/site-functions
        ;;
    esac
}

target() {
    system=$(uname -s) machine=$(uname -m)
    case $system/$machine in
    Linux/x86_64 | Linux/amd64) echo x86_64-unknown-linux-musl ;;
    Linux/aarch64 | Linux/arm64) echo aarch64-unknown-linux-musl ;;
    Darwin/*) fail "there is no archive for macOS: use Homebrew, or \`cargo install --locked nolapse\`" ;;
    *) fail "there is no archive for $system on $machine: \`cargo install --locked nolapse\` builds it" ;;
    esac
}

fetch() { # address, file
    case $1 in
    https://*) only='=https' ;;
    # a mirror on this machine
    http://127.0.0.1[:/]* | http://localhost[:/]* | http://\[::1\][:/]*) only='=http' ;;
    @*) fail 'this copy is not of a release: set NOLAPSE_BASE_URL' ;;
    *) fail "NOLAPSE_BASE_URL must begin with https://: $base" ;;
    esac
    if command -v curl >/dev/null 2>&1; then
        curl --fail --silent --show-error --location --proto "$only" --proto-redir "$only" --retry 2 --output "$2" "$1" ||
            fail "could not fetch $1"
    elif command -v wget >/dev/null 2>&1; then
        wget -q -O "$2" "$1" || fail "could not fetch $1"
    else
        fail 'needs curl or wget'
    fi
}

sum() { # file
    if command -v sha256sum >/dev/null 2>&1; then
        sha256sum "$1" | cut -d ' ' -f 1
    elif command -v shasum >/dev/null 2>&1; then
        shasum -a 256 "$1" | cut -d ' ' -f 1
    elif command -v openssl >/dev/null 2>&1; then
        openssl dgst -sha256 -r "$1" | cut -d ' ' -f 1
    else
        fail 'needs sha256sum, shasum or openssl: without one of them the download cannot be checked'
    fi
}

version_of() { # binary
    "$1" --version 2>/dev/null | sed -n '1s/^nolapse \([0-9][0-9A-Za-z.+-]*\).*/\1/p'
}

newer() { # whether version $1 is newer than $2
    awk -v a="$1" -v b="$2" 'BEGIN {
        split(a, x, /[.+-]/); split(b, y, /[.+-]/)
        for (i = 1; i <= 3; i++) if (x[i] + 0 != y[i] + 0) exit !(x[i] + 0 > y[i] + 0)
        exit 1
    }'
}

place() { # file, where, mode: whole or not at all
    mkdir -p "$(dirname "$2")" 2>/dev/null || fail "cannot make $(dirname "$2")"
    staged=$2.new.$$
    if ! { cp "$1" "$staged" && chmod "$3" "$staged" && mv -f "$staged" "$2"; } 2>/dev/null; then
        rm -f "$staged" 2>/dev/null || true
        fail "cannot write $2: is $(dirname "$2") yours and writable, and is there room?"
    fi
    staged=
}

restart() {
    if systemctl --user --quiet is-active nolapse-daemon.service 2>/dev/null; then
        systemctl --user restart nolapse-daemon.service && echo 'The daemon was started again.'
    elif [ -n "${SVDIR:-}" ] && [ -e "$SVDIR/nolapse" ] && sv status nolapse 2>/dev/null | grep -q '^run:'; then
        sv restart nolapse >/dev/null && echo 'The daemon was started again.'
    elif rc-service --user nolapse status >/dev/null 2>&1; then
        rc-service --user nolapse restart >/dev/null 2>&1 && echo 'The daemon was started again.'
    fi
    return 0
}

extras() { # each file of the archive beside the binary, and where it goes
    cat <<LIST
completions/nolapse.bash $share/bash-completion/completions/nolapse
completions/_nolapse $share/$zsh/_nolapse
completions/nolapse.fish $share/fish/vendor_completions.d/nolapse.fish
LIST
}

uninstall() {
    places
    [ -e "$bin/nolapse" ] || fail "nolapse is not in $bin"
    # the timer or service would go on calling what is gone
    "$bin/nolapse" uninstall || fail "\`nolapse uninstall\` failed: nothing was removed"
    extras | while read -r _ file; do rm -f "$file"; done
    rm -f "$share"/man/man1/nolapse.1 "$share"/man/man1/nolapse-*.1 "$bin/nolapse"
    echo "nolapse was removed from $bin."
    echo "Your configuration (${XDG_CONFIG_HOME:-$HOME/.config}/nolapse) and state (${XDG_STATE_HOME:-$HOME/.local/state}/nolapse) are still there."
}

install() {
    force=$1
    places
    target=$(target)
    work=$(mktemp -d) || fail 'cannot make a temporary directory'
    fetch "$base/SHA256SUMS" "$work/SHA256SUMS"
    # SUM  nolapse-vVERSION-TARGET.tar.gz
    line=$(grep -E "^[0-9a-f]{64} [ *]nolapse-v[0-9][0-9A-Za-z.+-]*-$target\.tar\.gz\$" "$work/SHA256SUMS" || true)
    [ "$(printf '%s' "$line" | grep -c .)" = 1 ] || fail "$base/SHA256SUMS names no archive for $target"
    expected=${line%% *} archive=${line##*[ *]}
    version=${archive#nolapse-v} version=${version%"-$target.tar.gz"}
    old=
    if [ -e "$bin/nolapse" ]; then
        old=$(version_of "$bin/nolapse") || old=
        if [ -n "$old" ] && newer "$old" "$version" && [ "$force" = no ]; then
            fail "nolapse $old is installed, which is newer than $version: run with --force to go back"
        fi
    fi
    fetch "$base/$archive" "$work/$archive"
    [ "$(sum "$work/$archive")" = "$expected" ] ||
        fail "$archive is not what SHA256SUMS says (a broken download?): nothing was installed"
    tar -xzf "$work/$archive" -C "$work" || fail "cannot unpack $archive"
    inside=$work/${archive%.tar.gz}
    [ "$(version_of "$inside/nolapse")" = "$version" ] || fail "the nolapse of $archive does not run here"

    # the binary last: until then the old one is whole
    extras | while read -r from to; do place "$inside/$from" "$to" 644; done
    for page in "$inside"/man/man1/*.1; do place "$page" "$share/man/man1/${page##*/}" 644; done
    place "$inside/nolapse" "$bin/nolapse" 755

    if [ -z "$old" ]; then
        echo "nolapse $version is in $bin."
    else
        echo "nolapse $version is in $bin (it was $old)."
        restart
    fi
    case :$PATH: in
    *":$bin:"*) name=nolapse ;;
    *)
        name=$bin/nolapse
        echo "$bin is not on your PATH. Add this line to your shell's profile:"
        echo "  export PATH=\"$bin:\$PATH\""
        ;;
    esac
    echo
    if [ -z "$old" ]; then
        echo "Next: $name setup"
    else
        echo "Next: $name doctor"
    fi
}

case ${1:-} in
'') install no ;;
--force) install yes ;;
--uninstall) uninstall ;;
-h | --help) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" ;;
*) fail "unknown option: $1 (--force, --uninstall)" ;;
esac
