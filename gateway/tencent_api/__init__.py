"""Tencent Cloud's own services over HTTP: API 3.0, and bounded requests to services on the instance."""
