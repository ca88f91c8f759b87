# Sourced by the tools that need Python or Debian packages. Defines: say, fail, may_install, debian, environment.
# shellcheck shell=bash
#
# The environment is <checkout>/.venv (ARSTORE_VENV names another place). It is made once, and again when pyproject.toml or
# the Python changes; ARSTORE_PYTHON names the Python to make it with. Debian's packages are installed only by root, and never with ARSTORE_NO_APT=1.

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${ARSTORE_VENV:-$checkout/.venv}
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
fail() { say "$*"; exit 1; }

may_install() { [ "$(id -u)" = 0 ] && [ -z "${ARSTORE_NO_APT:-}" ] && command -v apt-get >/dev/null; }

# _reasons OUTPUT: the lines in which pip or apt-get says what failed, each once, at most ten; else the last five lines
_reasons() {
    local lines
    lines=$(printf '%s\n' "$1" | sed -nE '
        s/^[[:space:]]*//
        s/^WARNING: Retrying.*after connection broken by (.*)$/connection broken by \1/
        s/<[^>]* object at 0x[0-9a-f]+>(: )?//
        /^(ERROR|error|E|connection broken by|[A-Za-z.]*Error)[: ]/p' | awk '!seen[$0]++' | head -n 10)
    printf '%s\n' "${lines:-$(printf '%s\n' "$1" | tail -n 5)}" | sed 's/^/    /'
}

_apt() {
    apt_said=$(DEBIAN_FRONTEND=noninteractive apt-get -y -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null 2>&1)
}
_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# debian PACKAGE...: install those that are not there; status 1 when one of them could not be
debian() {
    local package missing=() failed=()
    for package in "$@"; do _installed "$package" || missing+=("$package"); done
    [ ${#missing[@]} = 0 ] && return 0
    may_install || return 1
    say "installing from Debian: ${missing[*]}"
    _apt install --no-install-recommends "${missing[@]}" && return 0
    _apt update || true
    _apt install --no-install-recommends "${missing[@]}" && return 0
    for package in "${missing[@]}"; do
        _apt install --no-install-recommends "$package" || failed+=("$package")
    done
    [ ${#failed[@]} = 0 ] && return 0
    say "apt-get could not install ${failed[*]}:"
    _reasons "$apt_said" >&2
    return 1
}

_usable() { command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

_find_python() {
    local name
    for name in ${ARSTORE_PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if _usable "$name"; then
            command -v "$name"
            return 0
        fi
    done
    return 1
}

_python() {
    local found
    if ! found=$(_find_python); then
        debian python3 python3-venv ca-certificates || true
        found=$(_find_python) ||
            fail "${ARSTORE_PYTHON:-Python 3.11 or newer} is missing (Debian: apt-get install python3 python3-venv)"
    fi
    if ! "$found" -c 'import ensurepip, venv' 2>/dev/null; then
        debian python3-venv ca-certificates || true
        "$found" -c 'import ensurepip, venv' 2>/dev/null ||
            fail "$found cannot make virtual environments (Debian: apt-get install python3-venv)"
    fi
    printf '%s\n' "$found"
}

_pip() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }

# environment EXTRA...: a virtual environment with arstore, editable, and these extras of pyproject.toml
environment() {
    local python stamp wanted extras log
    extras=$(IFS=,; printf '%s' "$*")
    stamp=$venv/arstore-stamp
    if [ -x "$venv/bin/python" ] && [ -f "$stamp" ]; then
        wanted="$checkout $("$venv/bin/python" -V 2>&1) $(sha256sum <"$checkout/pyproject.toml")"
        case $(cat "$stamp") in "$wanted"*"[$extras]"* | "$wanted"*"[dev]"*) return 0 ;; esac
    fi
    if _usable "$venv/bin/python" && _pip --version >/dev/null 2>&1; then
        say "bringing the environment $venv up to date"
    else
        python=$(_python) || exit 1
        [ -z "$(ls -A "$venv" 2>/dev/null)" ] || [ -e "$venv/pyvenv.cfg" ] || fail "$venv holds something else"
        mkdir -p "$venv" 2>/dev/null && [ -w "$venv" ] ||
            fail "cannot write to $venv (ARSTORE_VENV names another place)"
        say "making the environment $venv"
        log=$("$python" -m venv --clear "$venv" 2>&1) || { _reasons "$log" >&2; fail "the environment could not be made"; }
    fi
    # The compat mode is a line in a .pth file; setuptools' own way is a finder that costs every start 10 ms.
    if ! log=$(_pip install -q -e "$checkout${extras:+[$extras]}" --config-settings editable_mode=compat 2>&1); then
        say "pip could not install arstore and what it needs:"
        _reasons "$log" >&2
        printf '%s\n' "$log" >"$venv/pip.log"
        say "all of pip's output: $venv/pip.log"
        fail "without a network, let PIP_INDEX_URL or PIP_FIND_LINKS name a place with wheels (docs/install.md)"
    fi
    printf '%s\n' "$checkout $("$venv/bin/python" -V 2>&1) $(sha256sum <"$checkout/pyproject.toml") [$extras]" >"$stamp"
}
