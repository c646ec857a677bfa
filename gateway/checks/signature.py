"""Finding on the signature: equal to that of Tencent's SDK for each configured bucket."""

from collections.abc import Mapping
from importlib.metadata import version

from gateway.checks.finding import Finding
from gateway.presign.hosts import Hosts


def diagnose_signature(hosts: Hosts, buckets: Mapping[str, str]) -> Finding:
    """Return whether the gateway signs as the SDK does. ``buckets`` maps their names to regions. Blocks."""
    from gateway.presign.probe_signer import signs_as_the_sdk  # half a second, and 10 MiB

    sdk = f"Tencent's SDK {version('cos-python-sdk-v5')}"
    different = [bucket for bucket, region in buckets.items() if not signs_as_the_sdk(hosts, bucket, region)]
    if different:
        advice = "report it with both versions: COS may refuse the gateway's URLs"
        return Finding("signature", False, f"not that of {sdk}, for {', '.join(different)}", advice)
    return Finding("signature", True, f"that of {sdk}")
