import pytest

# A helper's failed assertion shows its values only if pytest rewrites the helper before its import.
pytest.register_assert_rewrite("tests.support")
