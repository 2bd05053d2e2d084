"""The build backend: scikit-build-core, which for a source distribution gets a copy of the engine's sources.

In a checkout the engine is two folders up, so an archive of this folder would not contain it.
"""

import shutil
from pathlib import Path

from scikit_build_core.build import (  # noqa: F401
    build_editable,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)
from scikit_build_core.build import build_sdist as _build_sdist

HERE = Path(__file__).resolve().parent
ENGINE = HERE / "engine"
PARTS = ("cmake", "gguf", "kernels", "tokenizer", "gemma", "CMakeLists.txt", "LICENSE", "THIRD_PARTY_NOTICES.md")


def build_sdist(sdist_directory, config_settings=None):
    if ENGINE.exists():  # the build runs within a source distribution
        return _build_sdist(sdist_directory, config_settings)
    root = HERE.parents[1]
    try:
        for part in PARTS:
            source, target = root / part, ENGINE / part
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                ENGINE.mkdir(exist_ok=True)
                shutil.copy2(source, target)
        return _build_sdist(sdist_directory, config_settings)
    finally:
        shutil.rmtree(ENGINE, ignore_errors=True)
