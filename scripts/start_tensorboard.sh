#!/bin/sh
exec "${PYTHON:-python3}" "$(dirname "$0")/../view_tensorboard.py" "$@"
