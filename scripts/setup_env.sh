# Sourced by the scripts of the repository root: `setup_env requirements.txt` sets PYTHON to an interpreter that holds
# the pinned packages. In this order: $SOUNDCTM_PYTHON (used or refused, never changed), the checkout's .venv, the
# python3 on PATH; and if none holds them, .venv is made, with uv when it can be had, else with pip.
#
# A complete environment costs two starts of Python that import nothing, and needs no network. Processes that start together
# wait for one installation. A file .venv/.installing marks an installation that did not end: the next run starts afresh.

SOUNDCTM_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

setup_env() {
    local requirements=$SOUNDCTM_ROOT/$1 venv=$SOUNDCTM_ROOT/.venv missing system
    if [[ -n ${SOUNDCTM_PYTHON:-} ]]; then
        if ! missing=$(_holds "$SOUNDCTM_PYTHON" "$requirements"); then
            _fail "SOUNDCTM_PYTHON=$SOUNDCTM_PYTHON cannot be used: ${missing//$'\n'/; }. Install $1 there, or unset it"
            return 2
        fi
        PYTHON=$SOUNDCTM_PYTHON
        return 0
    fi
    system=$(command -v python3 || true)
    if [[ ! -e $venv/.installing ]] && _holds "$venv/bin/python" "$requirements" >/dev/null; then
        _own "$venv"
    elif [[ -n $system ]] && _holds "$system" "$requirements" >/dev/null; then
        PYTHON=$system
    else
        # The lock is held by this subshell alone: what runs afterwards does not keep it.
        (
            if command -v flock >/dev/null; then flock 9; fi
            _install "$venv" "$requirements"
        ) 9>"$SOUNDCTM_ROOT/.venv.lock" || return
        _own "$venv"
    fi
}

# Byte code is kept there, whatever the user's shell says: without it every start compiles thousands of files, which
# takes as long as all the rest.
_own() {
    PYTHON=$1/bin/python
    unset PYTHONDONTWRITEBYTECODE
}

_fail() { echo "error: $*" >&2; }

# _holds PYTHON REQUIREMENTS: prints what is missing.
_holds() {
    if ! command -v "$1" >/dev/null; then
        echo "there is no program $1"
        return 1
    fi
    "$1" -I "$SOUNDCTM_ROOT/scripts/check_env.py" "$2" 2>&1
}

_install() {
    local venv=$1 requirements=$2 missing uv='' fresh=''
    if [[ -e $venv/.installing ]]; then
        echo "setup: an installation into $venv did not end; starting afresh" >&2
        rm -rf "$venv"
    elif _holds "$venv/bin/python" "$requirements" >/dev/null; then
        return 0 # another process installed it while this one waited for the lock
    fi
    # A shim may stand on PATH without a program behind it, so it is asked for its version.
    if command -v uv >/dev/null && uv --version >/dev/null 2>&1; then uv=uv; fi
    if ! "$venv/bin/python" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        _make_venv "$venv" "$uv" || return
        fresh=1
    fi
    : >"$venv/.installing" || return
    echo "setup: installing $(basename "$requirements") into $venv; the first time this takes some minutes" >&2
    if [[ -z $uv ]]; then
        "$venv/bin/python" -m ensurepip >/dev/null 2>&1 || true
        if "$venv/bin/python" -m pip install --quiet uv >/dev/null 2>&1; then uv=$venv/bin/uv; fi
    fi
    if [[ -n $uv ]]; then
        "$uv" pip install --python "$venv/bin/python" -r "$requirements" >&2
    else
        "$venv/bin/python" -m pip install -r "$requirements" >&2
    fi || {
        # Both installers fetch everything before they change anything: an environment that worked before still does.
        if [[ -z $fresh ]]; then rm "$venv/.installing"; fi
        _fail "the packages of $requirements could not be installed (see above); run it again when that is mended"
        return 2
    }
    if ! missing=$(_holds "$venv/bin/python" "$requirements"); then
        _fail "after the installation still: ${missing//$'\n'/; }"
        return 2
    fi
    rm "$venv/.installing"
}

_make_venv() {
    local venv=$1 uv=$2 python found=''
    local fits='import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit(1); print(sys.executable)'
    for python in python3.11 python3.12 python3.13 python3; do
        if found=$("$python" -I -c "$fits" 2>/dev/null); then break; fi
    done
    if [[ -n $uv ]]; then
        # Without a fitting Python on PATH, uv looks in its own places and fetches one where it can.
        "$uv" venv --quiet --clear --python "${found:-3.11}" "$venv" >&2 && return
    elif [[ -n $found ]]; then
        "$found" -m venv --clear "$venv" >&2 && return
        _fail "$found cannot make a virtual environment (see above; on Debian: apt install python3-venv)"
        return 2
    fi
    _fail "SoundCTM needs Python 3.11, 3.12 or 3.13, and none was found; $(python3 --version 2>&1 || true) is on PATH." \
        "Install one, or uv, which fetches one: https://docs.astral.sh/uv"
    return 2
}
