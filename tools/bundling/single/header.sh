#!/bin/sh
# arstore @VERSION@ for @PLATFORM@: this script, and a zip archive behind it.
for python in ${ARSTORE_PYTHON:+"$ARSTORE_PYTHON"} python3 @NAMES@; do
    command -v "$python" >/dev/null 2>&1 && exec "$python" -I -S "$0" "$@"
done
echo "arstore: python3: not found; install Python @PYTHONS@" >&2
exit 40
