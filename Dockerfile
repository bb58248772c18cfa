# Build: docker build -t sender .
# Run:   docker run --rm -v "$PWD:/data" -e SENDER_API_KEY sender send receipts.jsonl
ARG BASE=python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7
FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/sender && python -m venv /opt/build
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
RUN /opt/sender/bin/pip install --require-hashes -r requirements.lock \
 && /opt/build/bin/pip install --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY sender ./sender
RUN /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation -w /wheel . \
 && /opt/sender/bin/pip install --no-deps /wheel/*.whl \
 && /opt/sender/bin/python -m compileall -q /opt/sender/lib

FROM ${BASE}
# No shell stands between the kernel and sender, so PID 1 gets SIGTERM. Nothing is written outside of /data and /tmp.
ENV PATH=/opt/sender/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin sender && mkdir /data && chown sender /data
COPY --from=build /opt/sender /opt/sender
USER 10001
WORKDIR /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["sender"]
CMD ["--help"]
