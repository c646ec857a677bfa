"""All faults that tests inject.

``tests/stories/test_faults.py`` compares the lights, the problems, the alert, the advice and the healing of each.
"""

from typing import Any, Final

import pytest

from tests.faults.of_cos import OF_COS
from tests.faults.of_others import OF_OTHERS
from tests.faults.of_postgres import OF_POSTGRES
from tests.faults.of_redis import OF_REDIS
from tests.faults.scene import Injected

FAULTS: Final = (*OF_COS, *OF_POSTGRES, *OF_REDIS, *OF_OTHERS)

# Faults that have a test with what they need: processes of their own, half a minute, or a start that is refused.
ELSEWHERE: Final = {
    "nginx cut off from the admin port": (
        "njs/test_lights.py",
        "test_a_cache_in_use_that_cannot_ask_is_named_after_half_a_minute_until_it_asks",
    ),
    "nginx asks the wrong port by itself": (
        "njs/test_lights.py",
        "test_an_nginx_that_asks_the_public_port_is_named_until_it_asks_the_admin_port",
    ),
    "the list of nginx at two ports": (
        "checks/test_running.py",
        "test_the_two_places_of_the_port_of_nginx_s_list_are_compared_and_the_shipped_file_names_one",
    ),
    "disk of the cache of nginx full": (
        "stories/test_faults.py",
        "test_9_a_full_disk_of_nginx",
    ),
    "accel behind gateway.conf": (
        "nginx/test_accel_not_configured.py",
        "test_accel_behind_gateway_conf_is_reported",
    ),
    "workers end again and again": (
        "workers/test_workers_history.py",
        "test_a_worker_that_does_not_answer_and_workers_that_end_are_problems_with_the_time_since_when",
    ),
    "a worker hangs": (
        "workers/test_workers_history.py",
        "test_a_worker_that_does_not_answer_and_workers_that_end_are_problems_with_the_time_since_when",
    ),
    "reader of the log blocked": (
        "server/test_request_log.py",
        "test_images_are_served_while_nobody_reads_the_log_and_lost_lines_are_counted",
    ),
    "open files used up": (
        "hostile/test_descriptors.py",
        "test_accepting_pauses_before_descriptors_run_out_and_resumes",
    ),
    "certificate expired": (
        "checks/test_cos_advice.py",
        "test_a_certificate_that_is_refused_is_no_wrong_region",
    ),
    "notifications do not come": (
        "catalog/test_change_feed.py",
        "test_a_connection_on_which_no_heartbeat_comes_back_is_made_anew",
    ),
    "redis:// to a Sentinel": (
        "redis_connection/test_topologies.py",
        "test_a_url_that_leads_to_another_kind_of_server_is_refused_with_the_url_to_write",
    ),
}


def parameters(*faults: Injected) -> list[Any]:
    """Return the faults as parameters of a test. Those of a Cluster or Sentinel run where these are."""
    group = pytest.mark.xdist_group("cluster")
    shared = {"six_nodes", "watched"}
    return [
        pytest.param(fault, id=fault.name, marks=[] if shared.isdisjoint(fault.uses) else [group]) for fault in faults
    ]
