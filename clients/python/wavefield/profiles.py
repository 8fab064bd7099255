"""Profiles that `wavefield login` made: how to reach a cluster, kept for the next call."""

import json
import os
import pathlib
import re

from . import errors

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def load(name=None):
    """What Client is made of for the profile `name`; default: WAVEFIELD_PROFILE, or the one that is used now."""
    folder = pathlib.Path(os.environ.get("XDG_CONFIG_HOME") or pathlib.Path.home() / ".config") / "wavefield"
    name = name or os.environ.get("WAVEFIELD_PROFILE") or _current(folder)
    if not name:
        raise errors.FailedPrecondition("no profile is in use; make one: wavefield login ADDRESS")
    if not _NAME.fullmatch(name):
        raise errors.InvalidArgument(f"'{name[:100]}' is not the name of a profile")
    path = folder / "profiles" / f"{name}.json"
    try:
        kept = json.loads(path.read_text())
        if not kept["address"]:
            raise ValueError("no address")
        return {"address": kept["address"],
                "token": pathlib.Path(kept["token_file"]).read_text().strip() if kept.get("token_file") else None,
                "ca": kept.get("ca_file") or None,
                "client_certificate": kept.get("client_cert") or None,
                "client_key": kept.get("client_key") or None}
    except FileNotFoundError as error:
        raise errors.NotFound(f"the profile '{name}' lacks {error.filename}; make it: "
                              f"wavefield login ADDRESS --profile {name}") from None
    except OSError as error:
        raise errors.FailedPrecondition(f"the profile '{name}' cannot be read: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise errors.FailedPrecondition(f"{path} is not a profile as 'wavefield login' writes it; log in again") from None


def _current(folder):
    try:
        return (folder / "current-profile").read_text().strip()
    except (OSError, ValueError):
        return ""
