"""What the stock clients do against a running server, by the tests that run them."""

from __future__ import annotations

from bench.show.main_job.tests import Selection, register

_EVERY = "tests/clients/test_every_operation.py"

register(
    "images-api",
    "clients",
    "openstacksdk, openstack and python-glanceclient work unchanged, with identity none and basic.",
    (
        Selection("openstacksdk: every operation on images", (_EVERY,), "sdk.py"),
        Selection("python-glanceclient: every operation on images", (_EVERY,), "glance.py"),
        Selection("openstack: one line through everything", (_EVERY,), "openstack_program"),
        Selection(
            "openstack and openstacksdk, children and logins",
            ("tests/clients/test_stock_clients.py", "tests/clients/test_basic_identity.py"),
        ),
    ),
    long_only=True,
)
