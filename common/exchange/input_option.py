"""`--input`: what an imported file's weights expect of their input, where the file cannot tell."""

from __future__ import annotations

from pathlib import Path

import yaml

from common.data.catalogue import CATALOGUE
from common.data.inputs import NORMALISATIONS, InputSpec
from common.errors import InputError


def named_input(text: str) -> InputSpec:
    """Return the input specification that a word names.

    Args:
        text: a normalisation (imagenet, unit, half), a data set whose own it is (cifar10 ...), or a JSON or YAML file with the
            fields of `InputSpec`.

    Raises:
        InputError: it names nothing, or the file cannot be read or holds something else.
    """
    if text in NORMALISATIONS:
        mean, std = NORMALISATIONS[text]
        return InputSpec(None, len(mean), (0.0, 1.0), mean, std, None)
    if text in CATALOGUE:
        return CATALOGUE[text].input
    path = Path(text)
    if not path.is_file():
        known = ", ".join([*NORMALISATIONS, *CATALOGUE])
        raise InputError(f"--input: got {text!r}, expected {known}, or a JSON or YAML file that is there")
    try:
        return InputSpec.from_json(yaml.safe_load(path.read_text(encoding="utf-8")))
    except InputError as error:
        raise InputError(f"--input: {path}: {error}") from error
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"--input: {path} cannot be read as JSON or YAML ({' '.join(str(error).split())})") from error
