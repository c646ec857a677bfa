"""All faults that tests inject.

``tests/stories/test_faults.py`` compares the lights, the problems, the alert, the advice and the healing of each,
``tests/web/test_console_causes.py`` the headlines in a browser.
"""

from typing import Any, Final

import pytest

from tests.faults.of_cos import OF_COS
from tests.faults.of_others import OF_OTHERS
from tests.faults.of_postgres import OF_POSTGRES
from tests.faults.of_redis import OF_REDIS
from tests.faults.scene import Injected

FAULTS: Final = (*OF_COS, *OF_POSTGRES, *OF_REDIS, *OF_OTHERS)


def parameters(*faults: Injected) -> list[Any]:
    """Return the faults as parameters of a test. Those of a Cluster or Sentinel run where these are."""
    group = pytest.mark.xdist_group("cluster")
    shared = {"six_nodes", "watched"}
    return [
        pytest.param(fault, id=fault.name, marks=[] if shared.isdisjoint(fault.uses) else [group]) for fault in faults
    ]
