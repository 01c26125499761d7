import warnings

import pytest


@pytest.fixture(scope="session")
def gx():
    """Great Expectations, imported once; what it warns of at import is its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations
    return great_expectations
