# The consumer's images; docs/containers.md says how they are built, started and confined.
#   docker build --target cpu -t inspection-consumer:cpu .          OpenVINO, no torch, nothing AGPL
#   docker build --target auditor -t inspection-consumer:auditor .  the same and what `consumer audit` needs
#   docker build -t inspection-consumer:cuda .                      torch with its CUDA libraries (the default target)
# A private package index, or a certificate for one, comes as a secret and stays in no layer:
#   docker build --secret id=pip,src=$HOME/.config/pip/pip.conf …

# Any Debian with Python 3.11 or later and its venv module; what runs is what this one has.
ARG BASE=python:3.11-slim-bookworm


FROM ${BASE} AS tools
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# pip lives beside what it installs, so that the images have none.
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/consumer
WORKDIR /source


FROM tools AS wheel
COPY requirements/build.txt requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \
    /tools/bin/pip install --quiet --require-hashes --only-binary :all: -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY consumer consumer
RUN /tools/bin/pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir /wheels .


FROM tools AS libraries-cpu
COPY requirements/light.txt requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \
    /tools/bin/pip --python /opt/consumer/bin/python install --quiet --require-hashes --only-binary :all: \
    -r requirements/light.txt


FROM tools AS libraries-cuda
COPY requirements/cuda.txt requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \
    /tools/bin/pip --python /opt/consumer/bin/python install --quiet --require-hashes --only-binary :all: \
    -r requirements/cuda.txt


FROM ${BASE} AS base
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="inspection-consumer" \
      org.opencontainers.image.description="Kafka in, images from S3, batched YOLO, exactly one outcome per job" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 consumer \
 && useradd --no-log-init --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin consumer
# The port stands here, above any settings file, so that the health check knows it.
ENV PATH=/opt/consumer/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CONSUMER__HTTP__HOST=0.0.0.0 \
    CONSUMER__HTTP__PORT=8080
WORKDIR /tmp
EXPOSE 8080
# A container's patience: the loop may stand still for 60 s before /livez says so (consumer/health.py).
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-I", "-m", "consumer.probe"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["consumer"]
CMD ["run"]


FROM base AS cpu
LABEL org.opencontainers.image.licenses="Apache-2.0"
COPY --from=libraries-cpu /opt/consumer /opt/consumer
# The package comes last and alone: a change of it is a layer of a few megabytes.
RUN --mount=type=bind,from=wheel,source=/tools,target=/tools --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    /tools/bin/pip --python /opt/consumer/bin/python install --quiet --no-deps --no-index --no-cache-dir /wheels/*.whl
USER 10001:10001


FROM cpu AS auditor
USER 0:0
RUN --mount=type=bind,from=wheel,source=/tools,target=/tools --mount=type=bind,source=requirements,target=/requirements \
    --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \
    /tools/bin/pip --python /opt/consumer/bin/python --cache-dir /root/.cache/pip install --quiet --require-hashes \
    --only-binary :all: -r /requirements/auditor.txt
USER 10001:10001
CMD ["audit", "run"]


FROM base AS cuda
# ultralytics, which reads the weights, is AGPL-3.0.
LABEL org.opencontainers.image.licenses="Apache-2.0 AND AGPL-3.0-only"
# The NVIDIA container toolkit gives the container the driver's libraries; CUDA's own come with torch.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=libraries-cuda /opt/consumer /opt/consumer
RUN --mount=type=bind,from=wheel,source=/tools,target=/tools --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    /tools/bin/pip --python /opt/consumer/bin/python install --quiet --no-deps --no-index --no-cache-dir /wheels/*.whl
USER 10001:10001
