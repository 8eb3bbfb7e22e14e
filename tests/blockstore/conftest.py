from __future__ import annotations

import pytest

# The contracts are no test modules by name; their asserts should explain themselves all the same.
pytest.register_assert_rewrite("tests.contracts.block_index", "tests.contracts.pack_register")
