# Sourced by quickstart.sh, run_tests.sh and gpu_check.sh, which set ROOT. Makes a relative PYTHON
# absolute. `setup_env` or `setup_env EXTRA` creates or reuses $ROOT/.venv with the packages of
# setup.cfg, and sets PYTHON to its interpreter.
#
# PYTHON=/path/to/python3.12 chooses the interpreter that .venv is created from.
# .venv/.installing holds the id of the installing process. If it is left behind, the installation
# was interrupted and is repeated from scratch. .venv/.installed-* records what was installed.

die() {
    echo "error: $*" >&2
    exit 1
}

case ${PYTHON:-} in
    # a path that no longer holds in another folder; a name without / is looked up in PATH
    [!/]*/*) PYTHON=$PWD/$PYTHON ;;
esac

runs_python_310() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

version_of() {
    "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
    else
        set -- python3 python3.13 python3.12 python3.11 python3.10 python
    fi
    found=
    for candidate in "$@"; do
        version=$(version_of "$candidate") || continue
        if runs_python_310 "$candidate"; then
            BASE_PYTHON=$candidate
            return
        fi
        found="$found $candidate is $version;"
    done
    die "Python 3.10 or newer is needed (found:${found:- none;} looked for $*)." \
        "Install one, or name one: PYTHON=/path/to/python3 sh $0"
}

# need_disk FOLDER GIGABYTES: stops when the file system of FOLDER has less than that left.
need_disk() {
    left=$(df -Pk "$1" | awk 'NR == 2 { print int($4 / 1048576) }')
    if [ "${left:-$2}" -lt "$2" ]; then
        die "the disk of $1 is too full: the installation needs about $2 GB there," \
            "$left GB are left. Free some space or use another disk${3:+ ($3)}."
    fi
}

stamp() {
    echo "$(version_of "$PYTHON") $(cksum <"$ROOT/setup.cfg")"
}

is_installed() {
    for extra in "$@"; do
        if [ "$(cat "$VENV/.installed-$extra" 2>/dev/null)" = "$(stamp)" ]; then
            return 0
        fi
    done
    return 1
}

make_venv() {
    find_python
    "$BASE_PYTHON" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
        die "$BASE_PYTHON cannot create a virtual environment: its module venv or ensurepip is" \
            "missing. On Debian and Ubuntu: apt install python3-venv"
    echo "Creating $VENV with Python $(version_of "$BASE_PYTHON")"
    mkdir -p "$VENV" && echo $$ >"$VENV/.installing" ||
        die "cannot write to $VENV: $ROOT must be writable"
    "$BASE_PYTHON" -m venv "$VENV" || die "$BASE_PYTHON -m venv $VENV failed (see above)"
}

install_packages() {
    # On Linux torch includes its CUDA libraries.
    gigabytes=7
    [ "$(uname -s)" = Darwin ] && gigabytes=3
    need_disk "$VENV" $gigabytes
    need_disk "${TMPDIR:-/tmp}" 1 "set TMPDIR=/other/folder"
    echo "Installing the packages of setup.cfg into $VENV" \
        "(once; a few minutes, up to 3 GB to download)"
    quiet=--quiet
    [ -t 1 ] && quiet=
    "$PYTHON" -m pip install $quiet --no-input --disable-pip-version-check "$ROOT${1:+[$1]}" || {
        need_disk "$VENV" 1
        die "pip could not install the packages (its own message is above)." \
            "Check the network (HTTPS_PROXY for a proxy, PIP_INDEX_URL for a mirror) and that" \
            "torch exists for Python $(version_of "$PYTHON") (PYTHON=/path/to/python3 names" \
            "another); then run the same command again."
    }
}

# add_extra EXTRA: installs one more extra after setup_env; fails if pip does, with pip's message.
add_extra() {
    is_installed "$1" test && return
    "$PYTHON" -m pip install --quiet --no-input --disable-pip-version-check "$ROOT[$1]" &&
        stamp >"$VENV/.installed-$1"
}

# setup_env [EXTRA]
setup_env() {
    VENV=$ROOT/.venv
    if [ -f "$VENV/.installing" ]; then
        other=$(cat "$VENV/.installing")
        if [ -n "$other" ] && kill -0 "$other" 2>/dev/null; then
            die "process $other is installing into $VENV: wait until it is done, then run this" \
                "again (if that process is something else: rm -r $VENV)."
        fi
        echo "The installation in $VENV was interrupted: repeating it"
        rm -rf "$VENV"
    fi
    if ! runs_python_310 "$VENV/bin/python"; then
        if [ -e "$VENV" ]; then
            echo "$VENV has no working Python 3.10 or newer: creating it again"
            rm -rf "$VENV"
        fi
        make_venv
    fi
    PYTHON=$VENV/bin/python
    export PYTHON
    if is_installed "${1:-base}" test; then
        echo "Using $VENV (Python $(version_of "$PYTHON"))"
        return
    fi
    echo $$ >"$VENV/.installing" || die "cannot write to $VENV"
    install_packages "${1:-}"
    stamp >"$VENV/.installed-${1:-base}"
    rm -f "$VENV/.installing"
}
