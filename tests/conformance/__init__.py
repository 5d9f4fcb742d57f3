"""One suite of promises per interface, run over every implementation."""

import pytest

# The promises are not in test modules themselves; let their failures show values all the same.
pytest.register_assert_rewrite(
    *(f"{__name__}.{part}" for part in ("abilities", "files", "folder", "harness", "machine", "staging", "volume"))
)
