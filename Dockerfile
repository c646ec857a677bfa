# The gateway as an image:  docker build -t image-gateway .
# Run it with a configuration at /etc/image-gateway/gateway.yaml, as config/compose.yaml does. When GATEWAY_… variables
# and secrets say everything, there is no file to name, and the command says so:  docker run … image-gateway serve

FROM python:3.13-slim AS builder
WORKDIR /build
# The environment gets no pip of its own: the one out here fills it.
RUN python -m venv --without-pip /opt/image-gateway
COPY setup.cfg pyproject.toml constraints.txt README.md ./
COPY gateway ./gateway
RUN python -m pip --python /opt/image-gateway/bin/python install --no-cache-dir --disable-pip-version-check \
    --constraint constraints.txt .

FROM python:3.13-slim
LABEL org.opencontainers.image.title="image-gateway" \
      org.opencontainers.image.description="Gives every private image in Tencent COS one address that never expires"
# A fixed number, so that volumes, secrets and security policies can name it. Nothing installs anything from here on.
RUN groupadd --system --gid 10001 gateway \
    && useradd --system --uid 10001 --gid gateway --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin gateway \
    && python -m pip uninstall --yes --quiet --root-user-action=ignore pip
COPY --from=builder /opt/image-gateway /opt/image-gateway
ENV PATH="/opt/image-gateway/bin:$PATH" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
# The public port, and the admin port, which listens on the container's loopback unless GATEWAY_ADMIN__HOST says else.
EXPOSE 8080 9090
# Alive is enough to keep a container; whether it should get requests is for /readyz to say.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9090/healthz', timeout=2)"]
# Exec form: the gateway itself gets SIGTERM, and drains. Give it longer than server.shutdown_grace before SIGKILL.
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "gateway"]
CMD ["serve", "--config", "/etc/image-gateway/gateway.yaml"]
