"""The COS emulator: a COS-compatible server for development and tests.

It answers GET and HEAD of objects as Tencent COS does, refuses what COS refuses with COS's own statuses and XML
bodies, and misbehaves on request. Signatures are verified from the published algorithm, never with the SDK that made
them, so that what works here works on COS.

``server`` is the way in (``CosEmulator``, ``create_cos_app``); ``store`` holds the objects, ``access`` the credentials,
``faults`` the ways to misbehave, ``request_log`` what was seen. ``python -m gateway.cos_emulator`` runs it alone.

"doc N" in this package is Tencent's document N of the COS product (https://cloud.tencent.com/document/product/436/N).
"""
