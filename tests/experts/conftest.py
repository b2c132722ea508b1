from collections.abc import Iterator

import pytest

from playground.experts.tools.worker import Worker


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    made = Worker(limit_s=5.0)  # the machine may be busy; the hostile cases check their own, shorter time
    yield made
    made.stop()
