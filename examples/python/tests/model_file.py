"""The path of the model for tests: the demo model of the checkout, or GEMMA_TEST_MODEL."""

import os
from pathlib import Path

import gemma_cpp

EXAMPLES = Path(__file__).resolve().parents[2]
MODEL = os.environ.get("GEMMA_TEST_MODEL", str(EXAMPLES / "models" / "gemma-demo.Q4_K_M.gguf"))
QUESTION = [("user", "Where is the lighthouse?")]

if "GEMMA_TEST_LIBRARY" in os.environ:
    gemma_cpp.load_library(os.environ["GEMMA_TEST_LIBRARY"])
