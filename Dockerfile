# The gateway as an image:  docker build -t image-gateway .    docs/containers.md adds the labels of version and revision.
# Run it with a configuration at /etc/image-gateway/gateway.yaml, as config/compose.yaml does. If GATEWAY_… variables and
# secrets set everything, run it without a file:  docker run … image-gateway serve

FROM python:3.13-slim AS builder
WORKDIR /build
# The environment has no pip: the builder's pip installs into it.
RUN python -m venv --without-pip /opt/image-gateway
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
COPY requirements.txt ./
RUN python -m pip --python /opt/image-gateway/bin/python install --no-compile --require-hashes -r requirements.txt
COPY setup.cfg pyproject.toml README.md ./
COPY gateway ./gateway
# Other bytecode has the times of its sources, which differ from build to build.
RUN python -m pip --python /opt/image-gateway/bin/python install --no-compile --no-deps . \
    && /opt/image-gateway/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/image-gateway/lib

FROM python:3.13-slim
# The version in setup.cfg and the commit, of the one who builds.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="image-gateway" \
      org.opencontainers.image.description="Gives every private image in Tencent COS one address that never expires" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
# A fixed uid, so that volumes, secrets and security policies can refer to it. The image needs no pip.
RUN groupadd --gid 10001 gateway \
    && useradd --uid 10001 --gid gateway --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin gateway \
    && python -m pip uninstall --yes --quiet --root-user-action=ignore pip
COPY --from=builder /opt/image-gateway /opt/image-gateway
COPY config/container/image-gateway-healthy /opt/image-gateway/bin/
COPY config/systemd/image-gateway-admin /opt/image-gateway/bin/
ENV PATH="/opt/image-gateway/bin:$PATH" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
# The public port, and the admin port, which listens on the container's loopback unless GATEWAY_ADMIN__HOST is set.
EXPOSE 8080 9090
# /healthz decides whether to restart the container; /readyz decides whether to send requests to it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["image-gateway-healthy"]
# Exec form: the gateway itself receives SIGTERM and drains. Send SIGKILL only after server.shutdown_grace.
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "gateway"]
CMD ["serve", "--config", "/etc/image-gateway/gateway.yaml"]
