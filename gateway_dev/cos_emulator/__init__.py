"""The COS emulator: a COS-compatible server for development and tests.

It answers GET and HEAD of objects as Tencent COS does, sends errors with COS's statuses and XML bodies, and injects
faults on request. It verifies signatures by the published algorithm, not with the SDK that made them, so that an error
in the SDK cannot hide itself.

Start with ``server`` (``CosEmulator``). ``store`` holds the objects, ``access`` the credentials, ``faults`` the fault
models, ``request_log`` the requests received. ``python -m gateway_dev.cos_emulator`` runs it alone.

"doc N" in this package is Tencent's document N of the COS product (https://cloud.tencent.com/document/product/436/N).
"""
